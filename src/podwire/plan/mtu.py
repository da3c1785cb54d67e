"""How large a pod's packet may be: the underlay's MTU, less what the backend puts around each packet."""

from __future__ import annotations

from collections.abc import Sequence

from podwire.model.cluster import Underlay
from podwire.model.config import Config
from podwire.model.errors import InputError
from podwire.plan.routes import backend_of
from podwire.plan.underlay import carrier

MINIMUM = {4: 576, 6: 1280}
"""RFC 791 (what every host must accept) and RFC 8200 section 5 (what every link must carry), bytes."""


def path_mtu(config: Config, underlays: Sequence[Underlay]) -> int:
    """The largest packet, in bytes, that the backend carries between nodes without fragments.

    Raises InputError when the node has no underlay, or one too narrow for IP inside the backend's wrapping.
    """
    underlay = carrier(underlays)
    if underlay is None:
        raise InputError(
            "node address",
            None,
            "no device of this node holds any of the Node's addresses, so the pods' MTU is unknown",
            remedy="check status.addresses of the Node, or set node.addressCidrs or mtu in the configuration",
        )
    overhead = backend_of(config).overhead(underlay.address.version)
    mtu = underlay.mtu - overhead
    least = max(MINIMUM[net.version] for net in config.pod_networks)
    if mtu < least:
        raise InputError(
            f"MTU of {underlay.device}",
            underlay.mtu,
            f"leaves {mtu} bytes for pods after {overhead} of {config.backend.type}; IP needs {least}",
            remedy=f"raise the MTU of {underlay.device} to {least + overhead} or more",
        )
    return mtu


def pod_mtu(config: Config, underlays: Sequence[Underlay]) -> int:
    """MTU of pods' interfaces, in bytes: ``mtu`` of the configuration where it is set, else :func:`path_mtu`."""
    return config.mtu or path_mtu(config, underlays)
