"""The one comparison, for every kind of kernel object."""

from __future__ import annotations

from collections.abc import Callable

from podwire.model.intent import Delta, Intent, NodeState
from podwire.model.kernel import Value
from podwire.reconcile.order import drops_in_order, puts_in_order


def diff(intent: Intent, observed: NodeState, *, keep: Callable[[Value], bool] = lambda _: False) -> Delta:
    """What turns *observed* into *intent*: put what is missing or different, drop what is there and not wanted.

    Values for which *keep* is true are left as they are, whichever side they stand on. Sysctls are never dropped: others
    may rely on them (model.kernel, "Ownership").
    """
    put = [
        wanted for key, wanted in intent.items.items() if observed.get(key) != wanted.value and not keep(wanted.value)
    ]
    drop = [
        value
        for key, value in observed.items()
        if key not in intent.items and value.kind != "sysctl" and not keep(value)
    ]
    return Delta(puts_in_order(put), drops_in_order(drop))


def applied(delta: Delta, observed: NodeState) -> NodeState:
    """What *observed* becomes once *delta* is carried out."""
    after = dict(observed)
    for value in delta.drop:
        after.pop(value.key, None)
    for wanted in delta.put:
        after[wanted.key] = wanted.value
    return after
