"""step() over any sequence of changes ends where plan() of the final Snapshot begins, and its deltas carry a kernel there."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.model.cluster import AttachmentChanged, Change, NodeChanged, UnderlayChanged
from podwire.model.config import Config
from podwire.model.intent import Delta, NodeState
from podwire.plan import State, plan, step
from podwire.reconcile.delta import applied
from tests.support import snapshots

FULL = os.environ.get("PODWIRE_TEST_FULL") == "1"
counts = settings(max_examples=3000 if FULL else 150, deadline=None, derandomize=not FULL)
SEQUENCES = st.lists(snapshots.changes(), max_size=14)


def same_as_whole(state: State, config: Config, taken: list[Change]) -> None:
    whole = plan(snapshots.after(taken), snapshots.ME, config)
    assert state.intent == whole.intent
    assert state.refusals == whole.refusals
    assert state.warnings == whole.warnings


def carried(kernel: NodeState, delta: Delta) -> NodeState:
    put = {element.key for element in delta.put}
    drop = {value.key for value in delta.drop}
    assert not put & drop, "one key both put and dropped"
    assert len(put) == len(delta.put) and len(drop) == len(delta.drop)
    assert all(kernel[key] == value for key, value in ((value.key, value) for value in delta.drop)), (
        "dropped a stranger"
    )
    assert all(kernel.get(element.key) != element.value for element in delta.put), "put what is there already"
    return applied(delta, kernel)


def values(state: State) -> NodeState:
    return {element.key: element.value for element in state.intent}


def undone(change: Change, state: State) -> Change:
    """The change that leads back from *change* to how *state* is now."""
    before = state.snapshot()
    if isinstance(change, UnderlayChanged):
        return UnderlayChanged(before.underlays)
    if isinstance(change, NodeChanged):
        return NodeChanged(change.name, before.nodes.get(change.name))
    return AttachmentChanged(change.key, before.attachments.get(change.key))


def emptied(state: State) -> list[Change]:
    """The changes that take everything away."""
    known = state.snapshot()
    gone: list[Change] = [AttachmentChanged(key, None) for key in known.attachments]
    gone += [NodeChanged(name, None) for name in known.nodes]
    return [*gone, UnderlayChanged(())]


@counts
@given(SEQUENCES, snapshots.configs())
def test_one_by_one(taken: list[Change], config: Config) -> None:
    state = State(snapshots.ME, config)
    kernel: NodeState = {}
    for number, change in enumerate(taken, 1):
        state, delta = step(state, [change])
        kernel = carried(kernel, delta)
        assert kernel == values(state)
        same_as_whole(state, config, taken[:number])


@counts
@given(SEQUENCES, snapshots.configs(), st.data())
def test_squashed_and_split(taken: list[Change], config: Config, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(taken)), max_size=3)))
    state = State(snapshots.ME, config)
    kernel: NodeState = {}
    for begin, end in zip([0, *cuts], [*cuts, len(taken)], strict=True):
        state, delta = step(state, taken[begin:end])
        kernel = carried(kernel, delta)
    assert kernel == values(state)
    same_as_whole(state, config, taken)


@counts
@given(SEQUENCES, snapshots.configs())
def test_reversed(taken: list[Change], config: Config) -> None:
    state = State(snapshots.ME, config)
    kernel: NodeState = {}
    back: list[tuple[Change, NodeState]] = []
    for change in taken:
        back.append((undone(change, state), kernel))
        state, delta = step(state, [change])
        kernel = carried(kernel, delta)
    for change, before in reversed(back):
        state, delta = step(state, [change])
        kernel = carried(kernel, delta)
        assert kernel == before, "a change and its undoing left something behind"
    assert not state.intent.items and not state.refusals


@counts
@given(SEQUENCES, snapshots.configs(), st.integers(0, 14))
def test_with_an_empty_state_inserted(taken: list[Change], config: Config, where: int) -> None:
    state, delta = step(State(snapshots.ME, config), taken[:where])
    kernel = carried({}, delta)
    state, delta = step(state, emptied(state))
    kernel = carried(kernel, delta)
    assert kernel == {} and not state.refusals
    rest = taken[where:]
    state, delta = step(state, rest)
    assert carried(kernel, delta) == values(state)
    same_as_whole(state, config, rest)


@counts
@given(SEQUENCES, snapshots.configs())
def test_started_from_a_snapshot(taken: list[Change], config: Config) -> None:
    state = State(snapshots.ME, config, snapshots.after(taken))
    same_as_whole(state, config, taken)
    _, delta = step(state, [])
    assert not delta, "what the agent starts with is in the Intent, not in the first delta"


@counts
@given(SEQUENCES, snapshots.configs(), st.randoms(use_true_random=False))
def test_the_order_of_a_snapshot_does_not_matter(taken: list[Change], config: Config, random: object) -> None:
    known = snapshots.after(taken)
    mixed = list(known.nodes.items())
    random.shuffle(mixed)  # type: ignore[attr-defined]
    shuffled = type(known)(dict(mixed), known.underlays, known.attachments)
    one, other = plan(known, snapshots.ME, config), plan(shuffled, snapshots.ME, config)
    assert one == other
