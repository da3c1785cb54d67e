"""Intent (what should be on a node, and because of which object), NodeState (what is), and the delta between.

Both are flat maps from a kernel object's key to its value, whatever its kind, so one generic comparison serves all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import msgspec

from podwire.model.kernel import Key, Value


class Cause(msgspec.Struct, frozen=True, order=True):
    """The object that an element of Intent exists for: a Node, a Pod, the configuration."""

    kind: str
    name: str
    namespace: str = ""
    detail: str = ""

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {name}" + (f" ({self.detail})" if self.detail else "")


class Wanted(msgspec.Struct, frozen=True):
    """A kernel object that should exist, and why."""

    value: Value
    cause: Cause

    @property
    def key(self) -> Key:
        return self.value.key


NodeState: TypeAlias = Mapping[Key, Value]
"""What is really there, of what is ours."""


class Intent:
    """What should be on one node: a map from key to :class:`Wanted`."""

    __slots__ = ("items",)

    def __init__(self, wanted: Iterable[Wanted] = ()) -> None:
        """Two elements with one key and different values are a bug in the plan, and raise ValueError."""
        self.items: dict[Key, Wanted] = {}
        for element in wanted:
            self.add(element)

    def add(self, element: Wanted) -> None:
        """Add *element*; the same value again (another cause) is harmless, a different one is a bug in the plan."""
        known = self.items.setdefault(element.key, element)
        if known.value != element.value:
            raise ValueError(f"two plans for {element.key}: {known} and {element}")

    def __iter__(self) -> Iterator[Wanted]:
        return iter(self.items.values())

    def __len__(self) -> int:
        return len(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Intent) and self.items == other.items

    __hash__ = None  # type: ignore[assignment]

    def of_kind(self, kind: str) -> list[Wanted]:
        """The elements of one kind, e.g. ``"route"``."""
        return [element for element in self.items.values() if element.value.kind == kind]


class Delta(msgspec.Struct, frozen=True):
    """A change of a node's state: *put* creates or replaces, *drop* removes. No key stands in both."""

    put: tuple[Wanted, ...] = ()
    drop: tuple[Value, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put or self.drop)

    def __len__(self) -> int:
        return len(self.put) + len(self.drop)


class Failure(msgspec.Struct, frozen=True):
    """An element of a delta that the kernel refused."""

    value: Value
    cause: Cause | None
    errno: int
    message: str
