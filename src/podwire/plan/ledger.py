"""The Intent as a sum of parts, each of which can be replaced on its own.

Two parts should never want one key with different values: pods have addresses of their own. Should they do so all the
same (a damaged store, a Node that claims a pod's address), a plan that raised would stop the whole node for the fault of
one object. So the first part in :func:`rank` order has the key, the others are **contested** and told as warnings.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from podwire.model.attachment import AttachmentKey
from podwire.model.intent import Delta, Intent, Wanted
from podwire.model.kernel import Key, Value
from podwire.plan.result import Finding

Part: TypeAlias = tuple[int, str | AttachmentKey]
"""Whose part it is; parts are ordered: the base, then peers by name, then attachments by key."""

BASE: Part = (0, "")


def node_part(name: str) -> Part:
    """The part of the peer *name*."""
    return (1, name)


def attachment_part(key: AttachmentKey) -> Part:
    """The part of an attachment."""
    return (2, key)


def contest(loser: Wanted, winner: Wanted) -> Finding:
    """What to say of an element that lost its key to another part's."""
    return Finding(
        loser.cause,
        f"wants a {loser.value.kind} that {winner.cause} has: {' '.join(map(str, loser.key[1:]))}",
        "one of the two must go; the allocations and the Node objects show which is wrong",
    )


class Ledger:
    """Which part wants what. The Intent is kept up to date; :meth:`settle` tells what changed since it was last asked."""

    def __init__(self) -> None:
        self.intent = Intent()
        self._parts: dict[Part, tuple[Wanted, ...]] = {}
        self._owner: dict[Key, Part] = {}
        self._contested: dict[Key, dict[Part, Wanted]] = {}
        """Every part's element for a key that several parts want; few, and mostly none."""
        self._before: dict[Key, Wanted | None] = {}
        """How each key that was touched stood when the Ledger was last settled."""

    def put(self, part: Part, elements: Iterable[Wanted]) -> None:
        """Replace all that *part* wants; no elements: the part is gone."""
        wanted = {element.key: element for element in elements}
        before = self._parts.get(part, ())
        after = tuple(wanted.values())
        if before == after:
            return
        for element in before:
            if element.key not in wanted:
                self._withdraw(part, element.key)
        for element in after:
            self._enter(part, element)
        if after:
            self._parts[part] = after
        else:
            del self._parts[part]

    def settle(self) -> Delta:
        """What changed in the kernel's terms: an element that only changed its cause is not in it."""
        touched, self._before = self._before, {}
        put: list[Wanted] = []
        drop: list[Value] = []
        for key, before in touched.items():
            after = self.intent.items.get(key)
            if after is None:
                if before is not None:
                    drop.append(before.value)
            elif before is None or before.value != after.value:
                put.append(after)
        return Delta(tuple(put), tuple(drop))

    def contests(self) -> list[Finding]:
        """One finding for each element that lost its key to a different one."""
        return [
            contest(element, self.intent.items[key])
            for key, wanted in self._contested.items()
            for element in wanted.values()
            if element.value != self.intent.items[key].value
        ]

    def _enter(self, part: Part, element: Wanted) -> None:
        key = element.key
        owner = self._owner.get(key)
        if owner is None or (owner == part and key not in self._contested):
            self._set(key, part, element)
            return
        claims = self._contested.setdefault(key, {owner: self.intent.items[key]})
        claims[part] = element
        self._award(key, claims)

    def _withdraw(self, part: Part, key: Key) -> None:
        claims = self._contested.get(key)
        if claims is None:
            self._before.setdefault(key, self.intent.items.pop(key))
            del self._owner[key]
            return
        del claims[part]
        self._award(key, claims)
        if len(claims) == 1:
            del self._contested[key]

    def _award(self, key: Key, claims: dict[Part, Wanted]) -> None:
        first = min(claims)
        self._set(key, first, claims[first])

    def _set(self, key: Key, part: Part, element: Wanted) -> None:
        self._before.setdefault(key, self.intent.items.get(key))
        self.intent.items[key] = element
        self._owner[key] = part
