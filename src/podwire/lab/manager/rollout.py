"""The arithmetic of a rolling update: how many pods each ReplicaSet of a Deployment should have now. Pure.

Source: Kubernetes, "Rolling Update Deployment", and k8s.io/kubernetes/pkg/controller/deployment/rolling.go for the
rules: never more than replicas + maxSurge pods, never fewer than replicas - maxUnavailable available ones, and old
pods that are not available go first.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from podwire.lab.manager.objects import Strategy

HASH_LABEL = "pod-template-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""As Kubernetes': no vowels, so that no words come out."""


class Set(msgspec.Struct, frozen=True):
    """A ReplicaSet as the arithmetic sees it: asked for, existing, available."""

    name: str
    replicas: int
    pods: int
    available: int


def limits(strategy: Strategy, replicas: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers: a surge is rounded up, unavailability down; both 0 becomes (0, 1)."""
    rolling = strategy.rolling_update
    surge = _share(rolling.max_surge, replicas, math.ceil)
    unavailable = _share(rolling.max_unavailable, replicas, math.floor)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _share(value: int | str | None, replicas: int, rounding: Any) -> int:
    if value is None:
        value = "25%"
    if isinstance(value, int):
        return value
    return int(rounding(replicas * int(value.rstrip("%")) / 100)) if value.endswith("%") else int(value)


def scale(replicas: int, surge: int, unavailable: int, new: Set, old: Sequence[Set]) -> dict[str, int]:
    """The replicas that each ReplicaSet should ask for next; names that are absent stay. *old* is oldest first."""
    wanted: dict[str, int] = {}
    total = new.replicas + sum(one.replicas for one in old)
    if new.replicas > replicas or not any(one.replicas for one in old):
        target = replicas
    else:
        target = new.replicas + max(0, min(replicas + surge - total, replicas - new.replicas))
    if target != new.replicas:
        wanted[new.name] = target
    room = total - (replicas - min(unavailable, replicas)) - (new.replicas - new.available)
    remaining = {one.name: one.replicas for one in old}
    for one in old:  # the unhealthy first: nobody misses them
        cut = min(one.replicas - min(one.available, one.replicas), max(0, room))
        remaining[one.name] -= cut
        room -= cut
    available = new.available + sum(one.available for one in old)
    room = min(room, available - (replicas - min(unavailable, replicas)))
    for one in old:
        cut = min(remaining[one.name], max(0, room))
        remaining[one.name] -= cut
        room -= cut
    wanted |= {one.name: remaining[one.name] for one in old if remaining[one.name] != one.replicas}
    return wanted


def recreate(replicas: int, new: Set | None, old: Sequence[Set]) -> dict[str, int] | None:
    """The same for strategy Recreate; None while old pods still exist, so that no new one is made yet."""
    down = {one.name: 0 for one in old if one.replicas}
    if down or any(one.pods for one in old):
        return down or None
    return {new.name: replicas} if new is not None and new.replicas != replicas else {}


def template_hash(template: Mapping[str, Any], collisions: int = 0) -> str:
    """The pod-template-hash of a template: the same for the same template, whatever order its keys come in."""
    canonical = msgspec.json.encode(template, order="deterministic") + str(collisions).encode()
    digest = int.from_bytes(hashlib.sha256(canonical).digest()[:8])
    letters = []
    for _ in range(10):
        digest, index = divmod(digest, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)


def same_template(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two templates are equal but for the hash label."""
    return _without_hash(one) == _without_hash(other)


def _without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    meta = dict(template.get("metadata") or {})
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH_LABEL}
    return {**template, "metadata": {**{k: v for k, v in meta.items() if v}, "labels": labels}}
