"""How a lab is: its nodes as the cluster sees them and as the machine does, and what is wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from podwire.cluster.client import Client
from podwire.cluster.kubeconfig import from_file
from podwire.cluster.resources import NODES
from podwire.lab.cluster import Lab, Node
from podwire.lab.sandbox.host import ServiceStatus
from podwire.lab.spec import DEFAULT_NAME
from podwire.model.errors import PodwireError

_PATIENCE = 5.0
"""Seconds that the API server gets to answer."""


class NodeStatus(msgspec.Struct, frozen=True, rename="camel"):
    """One node. *ready* is ``Ready``, ``NotReady``, ``Unknown`` or ``Missing``; *link* ``up``, ``cut`` or ``unplugged``."""

    name: str
    ready: str
    reason: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    subnet: int
    link: str
    agent: str
    kubelet: str


class ProgramStatus(msgspec.Struct, frozen=True, rename="camel"):
    """One program of the control plane."""

    name: str
    state: str
    restarts: int
    last_exit: str


class LabStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The lab; *problems* are sentences, none when all is well."""

    name: str
    backend: str
    phase: str
    kubeconfig: str
    nodes: tuple[NodeStatus, ...]
    control: tuple[ProgramStatus, ...]
    problems: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        return not self.problems


def collect(lab: Lab) -> LabStatus:
    """Ask the API server and the machine; an API server that does not answer is a problem, not an error."""
    problems: list[str] = []
    try:
        objects = asyncio.run(_node_objects(lab))
    except (PodwireError, TimeoutError, OSError) as error:
        objects = None
        problems.append(f"the API server does not answer: {error or type(error).__name__}")
    links = lab.fabric.link_states(lab.record.nodes)
    nodes = tuple(_node_status(node, links[node.name], objects) for node in lab.nodes)
    control = tuple(
        ProgramStatus(name, one.state, one.restarts, one.last_exit) for name, one in lab.control.services().items()
    )
    if not control:
        problems.append("the control plane was never started")
    problems += [
        f"{lab.control.name}: {one.name} is {one.state}"
        + (f" ({one.last_exit})" if one.last_exit else "")
        + f"; see {lab.directory.logs}/{lab.control.name}-{one.name}.log"
        for one in control
        if one.state != "running"
    ]
    for node in nodes:
        problems += _node_problems(lab, node)
    return LabStatus(lab.name, lab.spec.backend, lab.record.phase, str(lab.kubeconfig), nodes, control, tuple(problems))


async def _node_objects(lab: Lab) -> dict[str, dict[str, Any]]:
    async with asyncio.timeout(_PATIENCE), Client(from_file(lab.kubeconfig)) as client:
        listed = await client.list(NODES)
    return {item["metadata"]["name"]: item for item in listed.items}


def ready_condition(node: dict[str, Any]) -> tuple[str, str]:
    """(``Ready`` | ``NotReady`` | ``Unknown``, why) of a Node object."""
    for condition in node.get("status", {}).get("conditions") or ():
        if condition.get("type") == "Ready":
            state = {"True": "Ready", "False": "NotReady"}.get(condition.get("status"), "Unknown")
            return state, str(condition.get("message") or condition.get("reason") or "")
    return "NotReady", "its kubelet has not reported yet"


def _node_status(node: Node, link: str, objects: dict[str, dict[str, Any]] | None) -> NodeStatus:
    ready, reason, cidrs = "Unknown", "", ()
    if objects is not None:
        found = objects.get(node.name)
        ready, reason = ready_condition(found) if found else ("Missing", "it has no Node object")
        spec = (found or {}).get("spec", {})
        cidrs = tuple(spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else ()))
    services = node.services() if node.process else {}
    gone = ServiceStatus(state="down")
    return NodeStatus(
        name=node.name,
        ready=ready,
        reason=reason,
        addresses=tuple(str(address) for address in node.addresses),
        pod_cidrs=cidrs,
        subnet=node.segment,
        link=link,
        agent=services.get("agent", gone).state,
        kubelet=services.get("kubelet", gone).state,
    )


def _node_problems(lab: Lab, node: NodeStatus) -> list[str]:
    if node.agent == "down":
        return [f"{node.name} is down; podwire lab node reboot {node.name}{_flag(lab)}"]
    found = []
    if node.link == "cut":
        found.append(f"{node.name} is cut off; podwire lab node heal {node.name}{_flag(lab)}")
    for what, state in (("agent", node.agent), ("kubelet", node.kubelet)):
        if state != "running":
            found.append(f"{node.name}: {what} is {state}; see {lab.directory.logs}/{node.name}-{what}.log")
    if node.ready != "Ready" and not found:
        found.append(f"{node.name} is {node.ready}" + (f": {node.reason}" if node.reason else ""))
    return found


def _flag(lab: Lab) -> str:
    return "" if lab.name == DEFAULT_NAME else f" --name {lab.name}"


def next_steps(lab: Lab) -> list[str]:
    """What a user can do with the lab now, as commands."""
    flag = _flag(lab)
    return [
        f"export KUBECONFIG={lab.kubeconfig}",
        f"podwire lab status{flag}      podwire lab apply{flag} -f MANIFEST      podwire lab down{flag}",
    ]
