"""What a DaemonSet wants: a pod on every node that fits, and old pods replaced a few at a time. Pure.

Source: Kubernetes, "DaemonSet"; the tolerations that it adds as in k8s.io/kubernetes/pkg/controller/daemon/util.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from podwire.lab.manager.objects import Node, Pod, PodSpec, Strategy, Toleration
from podwire.lab.manager.scheduling import selected
from podwire.lab.manager.taints import NOT_READY, UNREACHABLE, UNSCHEDULABLE, first_untolerated

_ALWAYS = (
    Toleration(NOT_READY, "Exists", effect="NoExecute"),
    Toleration(UNREACHABLE, "Exists", effect="NoExecute"),
    Toleration("node.kubernetes.io/disk-pressure", "Exists", effect="NoSchedule"),
    Toleration("node.kubernetes.io/memory-pressure", "Exists", effect="NoSchedule"),
    Toleration("node.kubernetes.io/pid-pressure", "Exists", effect="NoSchedule"),
    Toleration(UNSCHEDULABLE, "Exists", effect="NoSchedule"),
)
_ON_THE_NODES_NETWORK = Toleration("node.kubernetes.io/network-unavailable", "Exists", effect="NoSchedule")


class Moves(msgspec.Struct):
    """What to do now: nodes that need a pod, and pods (by name) that have to go."""

    create: list[str] = msgspec.field(default_factory=list)
    delete: list[str] = msgspec.field(default_factory=list)


def tolerations(spec: PodSpec) -> list[Toleration]:
    """The tolerations of a DaemonSet's pods: the template's, and what every daemon puts up with."""
    added = [*_ALWAYS, *([_ON_THE_NODES_NETWORK] if spec.host_network else [])]
    return spec.tolerations + [one for one in added if one not in spec.tolerations]


def fits(template: Pod, node: Node, *, already_there: bool) -> bool:
    """Whether *node* should have a pod of *template*; one that is there stays over a NoSchedule taint."""
    effects = ("NoExecute",) if already_there else ("NoExecute", "NoSchedule")
    put_up_with = tolerations(template.spec)
    return selected(template, node) and not first_untolerated(put_up_with, node.spec.taints, effects)


def moves(
    template: Pod, nodes: Mapping[str, Node], pods: Sequence[Pod], current: str, strategy: Strategy, hash_label: str
) -> Moves:
    """What brings *pods*, those of one DaemonSet, to one on each fitting node, of hash *current*."""
    made = Moves()
    by_node: dict[str, list[Pod]] = {}
    for pod in pods:
        by_node.setdefault(pod.spec.node_name, []).append(pod)
    for name, node in sorted(nodes.items()):
        there = by_node.get(name, [])
        active = sorted((pod for pod in there if pod.active), key=lambda pod: pod.metadata.creation_timestamp)
        over = [pod for pod in there if not pod.active and not pod.metadata.deletion_timestamp]
        made.delete += [pod.metadata.name for pod in over]
        if not fits(template, node, already_there=bool(active)):
            made.delete += [pod.metadata.name for pod in active]
        elif active:
            made.delete += [pod.metadata.name for pod in active[1:]]
        elif not there:  # while one is going, its successor waits: two daemons would fight over the node's ports
            made.create.append(name)
    if strategy.type == "RollingUpdate":
        made.delete += _outdated(nodes, pods, current, strategy, hash_label, set(made.delete))
    return made


def _outdated(
    nodes: Mapping[str, Node], pods: Sequence[Pod], current: str, strategy: Strategy, label: str, going: set[str]
) -> list[str]:
    """Old pods that may be replaced now: those that do not serve at once, the others within maxUnavailable."""
    active = [pod for pod in pods if pod.active and pod.metadata.name not in going and pod.spec.node_name in nodes]
    old = [pod for pod in active if pod.metadata.labels.get(label) != current]
    useless = [pod.metadata.name for pod in old if not pod.ready]
    allowed = max(1, unavailable_limit(strategy, len(nodes)))
    unavailable = len(nodes) - sum(1 for pod in active if pod.ready)
    serving = sorted(pod.metadata.name for pod in old if pod.ready)
    return useless + serving[: max(0, allowed - unavailable)]


def unavailable_limit(strategy: Strategy, count: int) -> int:
    """maxUnavailable of a DaemonSet as a number: a percentage is rounded up, and the default is 1."""
    value = strategy.rolling_update.max_unavailable
    if value is None:
        return 1
    if isinstance(value, int):
        return value
    return -(-count * int(value.rstrip("%")) // 100) if value.endswith("%") else int(value)
