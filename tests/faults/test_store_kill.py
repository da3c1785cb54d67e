"""kill -9 of a writing process: what was acknowledged is there, and of the change in flight all or nothing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from podwire.drivers.fake_store import FakeStore
from podwire.ipam.store import StoreState
from podwire.model.addresses import IPAddress
from podwire.model.attachment import Attachment, AttachmentKey
from tests.faults.store_child import changes, open_store
from tests.support.attachments import attachment

pytestmark = pytest.mark.faults
FULL = os.environ.get("PODWIRE_TEST_FULL") == "1"
ROOT = Path(__file__).parents[2]


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.store_child", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def expected(seed: int, count: int) -> tuple[dict[AttachmentKey, Attachment], dict[IPAddress, float]]:
    """Attachments and cooling addresses after *count* changes, by the fake."""
    fake = FakeStore()
    fake.load()
    for change in islice(changes(seed), count):
        change(fake)
    state = fake.load()
    return dict(state.attachments), dict(state.cooling)


def assert_survived(state: StoreState, seed: int, acknowledged: int) -> None:
    assert state.recovered == "", "death is not damage"
    found = (dict(state.attachments), dict(state.cooling))
    assert found in (expected(seed, acknowledged), expected(seed, acknowledged + 1))


def reload(directory: Path) -> StoreState:
    store = open_store(str(directory))
    try:
        state = store.load()
        entry = msgspec.structs.replace(attachment(200), addresses=(ip_interface("10.9.9.9/32"),))
        store.put(entry)
        store.remove(entry.key, {})
        return state
    finally:
        store.close()


def test_killed_at_random_points(tmp_path: Path) -> None:
    """A new seed each life; the parent's reading decides when."""
    rng = random.Random(3)
    for life in range(500 if FULL else 20):
        directory = tmp_path / str(life)
        with child("write", str(directory), str(life)) as process:
            assert process.stdout is not None
            acknowledged = len(process.stdout.read(rng.randrange(1, 400)))
            process.kill()
            acknowledged += len(process.stdout.read())
        assert_survived(reload(directory), life, acknowledged)


def test_killed_before_every_call_that_changes_a_file(tmp_path: Path) -> None:
    """All of opening, writing and compacting, one call after the other: each death, then a whole reload."""
    seed, count = 5, 60 if FULL else 36
    deaths = 0
    with child("calls") as process:
        assert process.stdin is not None and process.stdout is not None
        for fatal in range(1, 1000):
            directory = tmp_path / str(fatal)
            process.stdin.write(f"{directory} {seed} {count} {fatal}\n".encode())
            process.stdin.flush()
            acknowledged, died = map(int, process.stdout.readline().split())
            if not died:
                assert acknowledged == count
                break
            deaths += 1
            assert_survived(reload(directory), seed, acknowledged)
    assert deaths > count, "each change writes once, and compaction more"


def test_killed_while_mending_damage(tmp_path: Path) -> None:
    """Whatever the moment, the damaged file or the mended one stands under its name, and both tell the same."""
    whole = tmp_path / "whole"
    store = open_store(str(whole))
    store.load()
    for change in islice(changes(5), 8):
        change(store)
    store.close()
    data = bytearray((whole / "allocations").read_bytes())
    data[data.index(b"container-")] ^= 1
    kept: set[str] = set()
    with child("calls") as process:
        assert process.stdin is not None and process.stdout is not None
        for fatal in range(1, 100):
            directory = tmp_path / str(fatal)
            directory.mkdir()
            (directory / "allocations").write_bytes(data)
            process.stdin.write(f"{directory} 5 0 {fatal}\n".encode())
            process.stdin.flush()
            _, died = map(int, process.stdout.readline().split())
            state = reload(directory)
            kept.add(str(sorted(map(str, state.attachments))))
            aside = list(directory.glob("allocations.damaged-*"))
            assert aside and all(path.read_bytes() == data for path in aside)
            if not died:
                break
            assert fatal < 99
    assert len(kept) == 1
