"""Which node a pod goes to. Pure.

A node must be there, ready, schedulable, tolerated and selected, and have room; among those, the one with the fewest
pods of the same owner, then the fewest pods, then the first by name. Source: Kubernetes, "Assigning Pods to Nodes".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from podwire.lab.manager.objects import Expression, Node, NodeSelectorTerm, Pod, Selector
from podwire.lab.manager.taints import first_untolerated

DEFAULT_ROOM = 250


class Load(msgspec.Struct):
    """What already runs on a node: how many pods, and how many of each owner."""

    pods: int = 0
    owners: Counter[str] = msgspec.field(default_factory=Counter)


class Verdict(msgspec.Struct, frozen=True):
    """The chosen *node*, or "" and the sentence that says why none fits."""

    node: str = ""
    why: str = ""


def loads(pods: Iterable[Pod]) -> dict[str, Load]:
    """The load of each node, from the pods bound to it."""
    found: dict[str, Load] = {}
    for pod in pods:
        if pod.spec.node_name and pod.status.phase not in ("Succeeded", "Failed"):
            load = found.setdefault(pod.spec.node_name, Load())
            load.pods += 1
            load.owners[owner_of(pod)] += 1
    return found


def owner_of(pod: Pod) -> str:
    """What pods are spread by: the controller, else namespace and labels."""
    labels = ",".join(f"{key}={value}" for key, value in sorted(pod.metadata.labels.items()))
    return pod.metadata.controller_uid or f"{pod.metadata.namespace}/{labels}"


def choose(pod: Pod, nodes: Iterable[Node], load: Mapping[str, Load]) -> Verdict:
    """The node for *pod*, or why there is none, in the words of kube-scheduler."""
    owner = owner_of(pod)
    reasons: Counter[str] = Counter()
    fitting = []
    for node in nodes:
        there = load.get(node.metadata.name) or Load()
        if reason := misfit(pod, node, there.pods):
            reasons[reason] += 1
        else:
            fitting.append((there.owners[owner], there.pods, node.metadata.name))
    if fitting:
        return Verdict(node=min(fitting)[2])
    if not reasons:
        return Verdict(why="no nodes available to schedule pods")
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return Verdict(why=f"0/{reasons.total()} nodes are available: {told}.")


def misfit(pod: Pod, node: Node, pods_there: int) -> str:
    """Why *node* cannot take *pod*, or ""."""
    if node.spec.unschedulable and not _tolerates_cordon(pod):
        return "node(s) were unschedulable"
    if taint := first_untolerated(pod.spec.tolerations, node.spec.taints, ("NoSchedule", "NoExecute")):
        return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
    if node.ready != "True" and not _tolerates_not_ready(pod):
        return "node(s) were not ready"
    if not selected(pod, node):
        return "node(s) didn't match Pod's node affinity/selector"
    if pods_there >= int(node.status.allocatable.get("pods", DEFAULT_ROOM)):
        return "Too many pods"
    return ""


def _tolerates_cordon(pod: Pod) -> bool:
    return any(
        term.operator == "Exists" and term.key in ("", "node.kubernetes.io/unschedulable")
        for term in pod.spec.tolerations
    )


def _tolerates_not_ready(pod: Pod) -> bool:
    """Whether the pod means to run where nothing is ready yet, as a network's own agent does."""
    return any(term.operator == "Exists" and not term.key for term in pod.spec.tolerations)


def selected(pod: Pod, node: Node) -> bool:
    """Whether the pod's nodeSelector and required node affinity admit *node*."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in pod.spec.node_selector.items()):
        return False
    affinity = pod.spec.affinity and pod.spec.affinity.node_affinity
    if not affinity or affinity.required is None:
        return True
    return any(_term_holds(term, node) for term in affinity.required.node_selector_terms)


def _term_holds(term: NodeSelectorTerm, node: Node) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    fields = {"metadata.name": node.metadata.name}
    return all(holds(one, node.metadata.labels) for one in term.match_expressions) and all(
        holds(one, fields) for one in term.match_fields
    )


def holds(requirement: Expression, labels: Mapping[str, str]) -> bool:
    """Whether a requirement holds for *labels*."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            if value is None or not requirement.values or not value.isdigit() or not requirement.values[0].isdigit():
                return False
            one, other = int(value), int(requirement.values[0])
            return one > other if operator == "Gt" else one < other
        case _:
            return False


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects *labels*; an empty one selects everything."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        holds(one, labels) for one in selector.match_expressions
    )
