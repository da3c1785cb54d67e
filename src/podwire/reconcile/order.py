"""In which order the elements of a delta are carried out, decided here for all drivers.

What others stand on comes first when it is made and last when it goes: a device before its own sysctls, addresses, neighbours
and routes. Drops go before puts, so that what moves (an address to another device) is free when it is taken; what only changes
keeps its key and is replaced in place, never dropped. A vanished device takes its routes along, which is a success for those
that drop them.
"""

from __future__ import annotations

from collections.abc import Iterable

from podwire.model.intent import Wanted
from podwire.model.kernel import KINDS, Value

_RANK = {kind.kind: number for number, kind in enumerate(KINDS)}


def puts_in_order(wanted: Iterable[Wanted]) -> tuple[Wanted, ...]:
    """By kind in the order of creation; within a kind as given."""
    return tuple(sorted(wanted, key=lambda element: _RANK[element.value.kind]))


def drops_in_order(values: Iterable[Value]) -> tuple[Value, ...]:
    """By kind against the order of creation; within a kind as given."""
    return tuple(sorted(values, key=lambda value: -_RANK[value.kind]))
