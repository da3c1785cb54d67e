"""Both ends of an attachment as values: what ADD makes, CHECK compares and DEL takes away."""

from __future__ import annotations

import msgspec

from podwire.model.addresses import IPInterface
from podwire.model.kernel import Neighbour, Route


class PodWiring(msgspec.Struct, frozen=True):
    """A veth pair between the node and a pod, with all that hangs on it.

    ``host_conf`` and ``pod_conf`` are per-interface sysctls as (family, name, value), family 4 or 6, name as below
    ``/proc/sys/net/ipvF/conf/<dev>/``. Routes and neighbours name their device themselves: ``host_*`` the host end,
    ``pod_*`` the pod's interface.
    """

    host_ifname: str
    host_mac: str
    ifname: str
    mac: str
    mtu: int
    addresses: tuple[IPInterface, ...]
    pod_routes: tuple[Route, ...]
    pod_neighbours: tuple[Neighbour, ...]
    host_routes: tuple[Route, ...]
    host_neighbours: tuple[Neighbour, ...]
    host_conf: tuple[tuple[int, str, int], ...] = ()
    pod_conf: tuple[tuple[int, str, int], ...] = ()
