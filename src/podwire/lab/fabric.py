"""The fabric done: namespaces made, cables laid, and the faults that tests and users ask for."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from podwire.drivers import netns
from podwire.lab import fabric_plan
from podwire.lab import spec as places
from podwire.lab.fabric_plan import Conditions, Setup
from podwire.lab.spec import LabSpec, NodeRecord
from podwire.lab.state import LabDirectory
from podwire.model.errors import InputError, LabError


class Fabric:
    """The network of the lab in *directory*, laid out as *spec* says."""

    def __init__(self, directory: LabDirectory, spec: LabSpec) -> None:
        self.directory = directory
        self.spec = spec

    # -- making --------------------------------------------------------------------------------------------------

    def build(self, nodes: Sequence[NodeRecord]) -> None:
        """Everything, with *nodes* plugged in."""
        pins = self.directory.namespaces
        for host in [*fabric_plan.hosts(self.spec), *(record.name for record in nodes)]:
            self.directory.pin(host)
        setups = fabric_plan.fabric(self.spec, pins)
        # Switches first: with the nodes' cables merged into them, each is one run of ip.
        plugged = [setup for record in nodes for setup in fabric_plan.node(self.spec, record, pins)]
        whole = fabric_plan.merged([*setups, *plugged])
        for setup in whole:
            self._set(setup)
        for setup in whole:
            self._link(setup)
        if self.spec.loss:
            self.set_loss(self.spec.loss)

    def plug(self, record: NodeRecord) -> None:
        """Give a node a fresh namespace and a cable."""
        self.directory.pin(record.name)
        mtu = self.conditions(places.segment_of(self.spec, record.index)).mtu
        for setup in fabric_plan.node(self.spec, record, self.directory.namespaces, mtu):
            self._link(setup)

    def unplug(self, record: NodeRecord) -> None:
        """Take a node's cable and namespace away, as a reboot or a removal does; nothing happens when both are gone."""
        switch = fabric_plan.switch_name(places.segment_of(self.spec, record.index))
        if record.port in self._links(switch):
            self._ip(switch, (f"link delete {record.port}",))
        self.directory.unpin(record.name)

    # -- faults --------------------------------------------------------------------------------------------------

    def cut(self, record: NodeRecord) -> None:
        """Take the node's link down: its carrier goes, as when a cable is pulled."""
        self._port(record, "down")

    def heal(self, record: NodeRecord) -> None:
        """Bring the node's link back."""
        self._port(record, "up")

    def _port(self, record: NodeRecord, state: str) -> None:
        switch = fabric_plan.switch_name(places.segment_of(self.spec, record.index))
        self._ip(switch, (f"link set {record.port} {state}",))

    def link_states(self, nodes: Iterable[NodeRecord]) -> dict[str, str]:
        """How each node's link is: ``up``, ``cut``, or ``unplugged`` when it has no cable."""
        ports = {segment: self._links(fabric_plan.switch_name(segment)) for segment in range(1, self.spec.subnets + 1)}
        states: dict[str, str] = {}
        for record in nodes:
            up = ports[places.segment_of(self.spec, record.index)].get(record.port)
            states[record.name] = "unplugged" if up is None else "up" if up else "cut"
        return states

    def set_mtu(self, mtu: int, segment: int | None = None, nodes: Sequence[NodeRecord] | None = None) -> None:
        """Give a segment's cables (default: all segments') another MTU, live. *nodes* default to the lab's."""
        if not 68 <= mtu <= 65535:
            raise InputError("mtu", mtu, "is out of range", remedy="use 68 to 65535 bytes")
        known = self.directory.read().nodes if nodes is None else nodes
        for number in self._segments(segment):
            for setup in fabric_plan.mtu_changes(self.spec, number, mtu, known):
                self._link(setup)
            self._remember(number, msgspec.structs.replace(self.conditions(number), mtu=mtu))

    def set_loss(self, percent: float, segment: int | None = None) -> None:
        """Have the switches lose that share of all frames at random; 0 ends it."""
        places.check_loss(percent)
        for number in self._segments(segment):
            self._filter(number, msgspec.structs.replace(self.conditions(number), loss=percent))

    def block_udp(self, port: int, segment: int | None = None) -> None:
        """Have the switches drop UDP datagrams to *port*, as a firewall between nodes would."""
        if not 1 <= port <= 65535:
            raise InputError("port", port, "is out of range", remedy="use 1 to 65535")
        for number in self._segments(segment):
            old = self.conditions(number)
            ports = tuple(sorted({*old.blocked_udp, port}))
            self._filter(number, msgspec.structs.replace(old, blocked_udp=ports))

    def unblock_udp(self, port: int, segment: int | None = None) -> None:
        """End :meth:`block_udp`."""
        for number in self._segments(segment):
            old = self.conditions(number)
            ports = tuple(one for one in old.blocked_udp if one != port)
            self._filter(number, msgspec.structs.replace(old, blocked_udp=ports))

    def conditions(self, segment: int) -> Conditions:
        """How a segment behaves now."""
        return self._all_conditions().get(segment, Conditions())

    def _all_conditions(self) -> dict[int, Conditions]:
        try:
            text = (self.directory.path / "fabric.json").read_bytes()
        except FileNotFoundError:
            return {}
        return msgspec.json.decode(text, type=dict[int, Conditions])

    def _filter(self, segment: int, new: Conditions) -> None:
        self._run(fabric_plan.switch_name(segment), ["nft", "-f", "-"], fabric_plan.ruleset(new))
        self._remember(segment, new)

    def _remember(self, segment: int, new: Conditions) -> None:
        self.directory.write_private("fabric.json", msgspec.json.encode({**self._all_conditions(), segment: new}))

    def _segments(self, segment: int | None) -> list[int]:
        if segment is None:
            return list(range(1, self.spec.subnets + 1))
        if not 1 <= segment <= self.spec.subnets:
            raise InputError("subnet", segment, "does not exist", remedy=f"there are 1 to {self.spec.subnets}")
        return [segment]

    # -- the machinery -------------------------------------------------------------------------------------------

    def _set(self, setup: Setup) -> None:
        if not setup.sysctls and not setup.optional:
            return
        fd = netns.open_namespace(str(self.directory.namespaces / setup.host))
        try:
            with netns.entered(fd):
                for path, value in setup.sysctls:
                    Path("/proc/sys", path).write_text(value)
                for path, value in setup.optional:
                    if Path("/proc/sys", path).exists():
                        Path("/proc/sys", path).write_text(value)
        finally:
            os.close(fd)

    def _link(self, setup: Setup) -> None:
        if setup.links:
            self._ip(setup.host, setup.links)

    def _ip(self, host: str, lines: Iterable[str]) -> None:
        self._run(host, ["ip", "-batch", "-"], "\n".join(lines) + "\n")

    def _links(self, host: str) -> dict[str, bool]:
        """Links of a namespace, and whether each is administratively up; empty when the namespace is gone."""
        if not (self.directory.namespaces / host).exists():
            return {}
        found = json.loads(self._run(host, ["ip", "-json", "link", "show"], ""))
        return {link["ifname"]: "UP" in link["flags"] for link in found}

    def _run(self, host: str, command: Sequence[str], text: str) -> str:
        fd = netns.open_namespace(str(self.directory.namespaces / host))
        try:
            with netns.entered(fd):
                result = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
        except FileNotFoundError:
            package = {"ip": "iproute2", "nft": "nftables"}[command[0]]
            raise LabError(f"{command[0]} is not installed", remedy=f"apt-get install {package}") from None
        finally:
            os.close(fd)
        if result.returncode:
            raise LabError(f"{host}: {' '.join(command)} failed: {result.stderr.strip()[-1000:]}")
        return result.stdout
