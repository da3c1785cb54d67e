"""Nodes that come, go and reboot while the lab runs."""

from __future__ import annotations

import shutil
from contextlib import suppress

import msgspec

from podwire.lab import fabric_plan, processes
from podwire.lab import spec as places
from podwire.lab.cluster import Lab, Node
from podwire.lab.lifecycle import READY_TIMEOUT, STOP_GRACE, Say, prepare_host
from podwire.lab.programs import Programs
from podwire.lab.spec import NodeRecord
from podwire.model.errors import InputError, PodwireError


def add(
    lab_name: str,
    programs: Programs,
    *,
    name: str = "",
    segment: int | None = None,
    say: Say = lambda _: None,
    wait: bool = True,
) -> Node:
    """Plug a new node in and return it once Ready. *name* defaults to nodeN, *segment* to the next in turn."""
    directory = Lab.load(lab_name).directory
    with directory.locked():
        lab = Lab.load(lab_name)
        record = _choose(lab, name, segment)
        nodes = (*lab.record.nodes, record)
        changed = msgspec.structs.replace(lab.record, nodes=nodes)
        lab = Lab(directory, changed)
        node = lab.node(record.name)
        say(f"{record.name}: {', '.join(str(address) for address in node.addresses)}, subnet {node.segment}")
        directory.write(changed)
        try:
            lab.fabric.plug(record)
            prepare_host(lab, node, programs.node(lab, record))
            node.start().finish()
            if wait:
                programs.wait_nodes(lab, [node.name], READY_TIMEOUT)
        except BaseException:
            _take_away(lab, node)
            with suppress(PodwireError):  # the first failure is the one to tell
                programs.forget(lab, record)
            raise
        return node


def _choose(lab: Lab, name: str, segment: int | None) -> NodeRecord:
    index = places.free_index(lab.spec, {record.index for record in lab.record.nodes}, segment)
    names = {record.name for record in lab.record.nodes}
    if not name:
        number = index
        while f"node{number}" in names:
            number += 1
        name = f"node{number}"
    places.check_name(name, "node")
    if name in names:
        raise InputError("node", name, "exists already", remedy="choose another name, or none")
    if name in fabric_plan.reserved_names():
        raise InputError("node", name, "is a host of the fabric", remedy="choose another name, or none")
    return NodeRecord(name, index)


def remove(lab_name: str, name: str, programs: Programs, say: Say = lambda _: None) -> None:
    """Take a node away for good: its processes, its cable, its files, and its Node object."""
    directory = Lab.load(lab_name).directory
    with directory.locked():
        lab = Lab.load(lab_name)
        node = lab.node(name)
        _take_away(lab, node)
        say(f"{name}: gone from the fabric")
        programs.forget(lab, node.record)
        say(f"{name}: gone from the cluster")


def _take_away(lab: Lab, node: Node) -> None:
    if (process := node.process) is not None:
        processes.stop([process], STOP_GRACE)
    lab.fabric.unplug(node.record)
    shutil.rmtree(node.directory, ignore_errors=True)
    for log in node.logs.glob(f"{node.name}-*.log"):
        log.unlink(missing_ok=True)
    rest = tuple(record for record in lab.record.nodes if record.name != node.name)
    lab.directory.write(msgspec.structs.replace(lab.directory.read(), nodes=rest))


def reboot(
    lab_name: str,
    name: str,
    programs: Programs,
    *,
    hard: bool = False,
    say: Say = lambda _: None,
    wait: bool = True,
) -> Node:
    """Reboot a node: all its processes end, its kernel's network state and its /run and /tmp are fresh.

    Address, MAC and whatever lies in /etc, /opt, /var/lib and /var/log stay. *hard* pulls the plug instead of asking
    the services to stop. A cut link stays cut.
    """
    directory = Lab.load(lab_name).directory
    with directory.locked():
        lab = Lab.load(lab_name)
        node = lab.node(name)
        link = node.link
        say(f"{name}: going down")
        if (process := node.process) is not None:
            processes.stop([process], 0.0 if hard else STOP_GRACE)
        lab.fabric.unplug(node.record)
        lab.fabric.plug(node.record)
        if link == "cut":
            node.cut()
        say(f"{name}: starting")
        node.start().finish()
        if wait and link != "cut":
            programs.wait_nodes(lab, [name], READY_TIMEOUT)
        return node
