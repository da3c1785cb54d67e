"""What every store promises: one suite for the file and for the fake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from podwire.drivers.fake_store import FakeStore
from podwire.drivers.store import JournalStore
from podwire.ipam.store import Store
from podwire.model.errors import StoreError
from tests.support.attachments import attachment

Reopen = Callable[[], Store]


@pytest.fixture(params=["journal", "fake"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Gives the same store anew, as a restarted agent would open it; not loaded yet."""
    fake = FakeStore()
    opened: list[Store] = []

    def again() -> Store:
        for store in opened:
            store.close()
        opened.append(JournalStore(str(tmp_path), clock=lambda: 1000.0) if request.param == "journal" else fake)
        return opened[-1]

    yield again
    for store in opened:
        store.close()


def test_begins_empty(reopen: Reopen) -> None:
    state = reopen().load()
    assert (dict(state.attachments), dict(state.cooling), state.recovered) == ({}, {}, "")


def test_what_was_put_is_there_again(reopen: Reopen) -> None:
    store = reopen()
    store.load()
    one, two = attachment(5), attachment(6, "10.244.1.6/32", "fd00::6/128", pod=False, state="allocated")
    store.put(one)
    store.put(two)
    state = reopen().load()
    assert dict(state.attachments) == {one.key: one, two.key: two}


def test_put_replaces(reopen: Reopen) -> None:
    store = reopen()
    store.load()
    store.put(attachment(5, state="allocated"))
    store.put(attachment(5, state="ready"))
    assert [entry.state for entry in reopen().load().attachments.values()] == ["ready"]


def test_remove_remembers_when_addresses_were_freed(reopen: Reopen) -> None:
    store = reopen()
    store.load()
    both = attachment(5, "10.244.1.5/32", "fd00::5/128")
    store.put(both)
    freed = {ip_address("10.244.1.5"): 990.25, ip_address("fd00::5"): 990.25}
    store.remove(both.key, freed)
    store.remove(both.key, freed)
    state = reopen().load()
    assert dict(state.attachments) == {} and dict(state.cooling) == freed


def test_remove_of_the_unknown_still_remembers_the_addresses(reopen: Reopen) -> None:
    store = reopen()
    store.load()
    store.remove(attachment(5).key, {})
    store.remove(attachment(5).key, {ip_address("10.244.1.5"): 990.0})
    assert dict(reopen().load().cooling) == {ip_address("10.244.1.5"): 990.0}


def test_an_address_given_again_cools_no_more(reopen: Reopen) -> None:
    store = reopen()
    store.load()
    store.put(attachment(5))
    store.remove(attachment(5).key, {ip_address("10.244.1.5"): 990.0})
    store.put(attachment(6, "10.244.1.5/32"))
    assert dict(store.load().cooling) == {}
    assert dict(reopen().load().cooling) == {}


def test_networks_and_interfaces_are_kept_apart(reopen: Reopen) -> None:
    store = reopen()
    store.load()
    store.put(attachment(5))
    store.put(attachment(5, "10.9.0.5/32", network="storage"))
    store.remove(attachment(5).key, {})
    assert [key.network for key in reopen().load().attachments] == ["storage"]


def test_a_loaded_state_is_a_copy(reopen: Reopen) -> None:
    store = reopen()
    before = store.load()
    store.put(attachment(5))
    assert dict(before.attachments) == {}
    assert len(store.load().attachments) == 1


@pytest.mark.parametrize("when", ["before load", "after close"])
def test_a_store_that_is_not_open_refuses(reopen: Reopen, when: str) -> None:
    store = reopen()
    if when == "after close":
        store.load()
        store.close()
        store.close()
    with pytest.raises(StoreError, match="is not open; load"):
        store.put(attachment(5))
    with pytest.raises(StoreError, match="is not open; load"):
        store.remove(attachment(5).key, {ip_address("10.244.1.5"): 990.0})


def test_the_fake_fails_on_demand() -> None:
    seen: list[int] = []
    store = FakeStore(fail_at=[2], on_write=seen.append)
    store.load()
    store.put(attachment(5))
    with pytest.raises(StoreError, match="write 2 fails"):
        store.put(attachment(6))
    store.remove(attachment(5).key, {})
    assert dict(store.load().attachments) == {} and seen == [1, 3]
