"""Taints and tolerations: which pods a node keeps off, and when it sends away those that it has. Pure.

Source: Kubernetes, "Taints and Tolerations"; the taints of a node that is not ready as its node lifecycle sets them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podwire.lab.kubelet.clock import seconds_of
from podwire.lab.manager.objects import Taint, Toleration

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_OURS = (NOT_READY, UNREACHABLE, UNSCHEDULABLE)


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration covers one taint."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.operator == "Exists":
        return toleration.key in ("", taint.key)
    return (toleration.key, toleration.value) == (taint.key, taint.value)


def first_untolerated(
    tolerations: Sequence[Toleration], taints: Iterable[Taint], effects: Sequence[str]
) -> Taint | None:
    """The first taint with one of *effects* that no toleration covers."""
    for taint in taints:
        if taint.effect in effects and not any(tolerates(one, taint) for one in tolerations):
            return taint
    return None


def wanted_taints(present: Sequence[Taint], ready: str, unschedulable: bool, now: str) -> list[Taint]:
    """A node's taints as its readiness ("True", "False", "Unknown") asks; others' stay, and so does a taint's age."""
    key = {"True": "", "False": NOT_READY}.get(ready, UNREACHABLE)
    wanted = [(key, effect) for effect in ("NoSchedule", "NoExecute") if key]
    if unschedulable:
        wanted.append((UNSCHEDULABLE, "NoSchedule"))
    known = {(taint.key, taint.effect): taint for taint in present}
    kept = [taint for taint in present if taint.key not in _OURS]
    return kept + [known.get((key, effect)) or Taint(key, effect, time_added=now) for key, effect in wanted]


def evict_at(tolerations: Sequence[Toleration], taints: Iterable[Taint]) -> float | None:
    """When a pod has to leave a node with *taints*, seconds since the epoch (0: at once); None when it may stay."""
    times = []
    for taint in taints:
        if taint.effect != "NoExecute":
            continue
        covering = [one for one in tolerations if tolerates(one, taint)]
        if not covering:
            return 0.0
        limits = [one.toleration_seconds for one in covering if one.toleration_seconds is not None]
        if limits:
            times.append((seconds_of(taint.time_added) if taint.time_added else 0.0) + max(0, min(limits)))
    return min(times, default=None)
