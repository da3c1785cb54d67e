"""The journal file: its format, what damage does to it, who may open it, what a full filesystem does."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import stat
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest

from podwire.drivers import journal
from podwire.drivers import store as store_module
from podwire.drivers.store import JournalStore
from podwire.ipam.store import StoreState
from podwire.model.attachment import Attachment
from podwire.model.errors import StoreError, StoreTooNew
from tests.support.attachments import attachment

NOW = 1_000_000.0


class Node:
    """A run directory with the stores that a test opened on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "allocations"
        self.now = NOW
        self.opened: list[JournalStore] = []

    def store(self, **options: Any) -> JournalStore:
        self.close()
        options.setdefault("boot_id", "boot-1")
        self.opened.append(JournalStore(str(self.directory), clock=lambda: self.now, **options))
        return self.opened[-1]

    def load(self, **options: Any) -> StoreState:
        return self.store(**options).load()

    def filled(self, count: int = 5) -> list[Attachment]:
        store = self.store()
        store.load()
        made = [attachment(number) for number in range(10, 10 + count)]
        for entry in made:
            store.put(entry)
        store.close()
        return made

    def aside(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir() if path.name.startswith("allocations."))

    def close(self) -> None:
        for store in self.opened:
            store.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "podwire")
    yield node
    node.close()


def rewrite(path: Path, *lines: dict[str, Any]) -> None:
    bodies = [json.dumps(line).encode() for line in lines]
    path.write_bytes(b"".join(b"%08x %s\n" % (zlib.crc32(body), body) for body in bodies))


def test_only_root_reads_the_files(node: Node) -> None:
    node.filled()
    assert stat.S_IMODE(node.directory.stat().st_mode) == 0o700
    for path in node.directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_stored_attachments_have_every_field_of_an_attachment() -> None:
    assert journal.StoredAttachment.__struct_fields__ == Attachment.__struct_fields__


def test_a_change_is_one_write(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    store = node.store()
    store.load()
    writes: list[int] = []
    pwrite = os.pwrite

    def counted(fd: int, data: bytes, offset: int) -> int:
        writes.append(len(data))
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", counted)
    store.put(attachment(5))
    store.remove(attachment(5).key, {ip_address("10.244.1.5"): NOW})
    assert len(writes) == 2


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_end_is_dropped(node: Node, cut: int) -> None:
    made = node.filled()
    os.truncate(node.file, node.file.stat().st_size - cut)
    state = node.load()
    assert (list(state.attachments.values()), state.recovered) == (made[:-1], "")
    node.opened[-1].put(made[-1])
    assert list(node.load().attachments.values()) == made
    assert node.aside() == ["allocations.lock"]


class TestDamage:
    def flip(self, node: Node, offset: int) -> None:
        data = bytearray(node.file.read_bytes())
        data[offset] ^= 0x10
        node.file.write_bytes(data)

    def test_in_the_middle_keeps_the_rest_and_says_so(self, node: Node) -> None:
        made = node.filled()
        before = node.file.read_bytes()
        offset = before.index(b"container-12")
        self.flip(node, offset)
        damaged = node.file.read_bytes()
        state = node.load()
        assert list(state.attachments.values()) == [entry for entry in made if "12" not in entry.key.container_id]
        line = before.rindex(b"\n", 0, offset) + 1
        aside = node.directory / "allocations.damaged-19700112T134640Z"
        assert state.recovered == (
            f"{node.file} was damaged (1 unreadable, the first at byte {line}): moved to {aside}, 4 intact records kept"
        )
        assert aside.read_bytes() == damaged, "the evidence is untouched"
        assert node.load().recovered == "", "told once: the new file is whole"
        assert len(node.load().attachments) == 4

    def test_anywhere_loses_at_most_two_records_and_never_the_process(self, node: Node) -> None:
        made = node.filled()
        whole = node.file.read_bytes()
        rng = random.Random(11)
        for offset in rng.sample(range(len(whole) - 1), 150):
            node.file.write_bytes(whole)
            self.flip(node, offset)
            state = node.load()
            kept = list(state.attachments.values())
            assert all(entry in made for entry in kept)
            assert len(kept) >= len(made) - 2 and state.recovered

    @pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"garbage", b"\n\n\n", os.urandom(3000)])
    def test_a_file_that_is_no_journal(self, node: Node, content: bytes) -> None:
        node.filled()
        node.file.write_bytes(content)
        state = node.load()
        assert dict(state.attachments) == {} and "was damaged" in state.recovered
        node.opened[-1].put(attachment(5))
        assert len(node.load().attachments) == 1

    def test_the_header(self, node: Node) -> None:
        made = node.filled()
        self.flip(node, 12)
        state = node.load()
        assert list(state.attachments.values()) == made and "first at byte 0" in state.recovered

    def test_a_header_in_the_middle(self, node: Node) -> None:
        node.filled()
        with node.file.open("ab") as file:
            file.write(journal.encode(journal.Header(1, "boot-1")))
        assert "1 unreadable" in node.load().recovered

    def test_a_right_checksum_over_nonsense(self, node: Node) -> None:
        good = msgspec.to_builtins(journal.put(attachment(5)))
        bad = msgspec.to_builtins(journal.put(attachment(6)))
        bad["attachment"]["addresses"] = ["10.244.1"]
        freed = {"type": "remove", "key": bad["attachment"]["key"], "freed": {"nowhere": 1.0}}
        node.filled()
        rewrite(node.file, {"type": "header", "schema": 1}, good, bad, {"type": "song"}, freed, {})
        state = node.load()
        assert list(state.attachments.values()) == [attachment(5)] and "4 unreadable" in state.recovered

    def test_twice_in_a_second_keeps_both(self, node: Node) -> None:
        for _ in range(2):
            node.filled()
            self.flip(node, 60)
            node.load()
        assert [name for name in node.aside() if "damaged" in name] == [
            "allocations.damaged-19700112T134640Z",
            "allocations.damaged-19700112T134640Z-1",
        ]

    def test_a_lost_removal_does_not_give_an_address_two_owners(self, node: Node) -> None:
        store = node.store()
        store.load()
        store.put(attachment(5))
        begin = node.file.stat().st_size
        store.remove(attachment(5).key, {ip_address("10.244.1.5"): NOW})
        store.put(attachment(6, "10.244.1.5/32"))
        store.close()
        self.flip(node, begin + 20)
        assert [entry.key.container_id for entry in node.load().attachments.values()] == ["container-6"]


class TestSchema:
    def test_newer_is_refused_and_untouched(self, node: Node) -> None:
        node.filled()
        rewrite(node.file, {"type": "header", "schema": 2, "boot": "boot-1", "news": []}, {"type": "novel"})
        before = node.file.read_bytes()
        with pytest.raises(StoreTooNew, match="has schema 2, this podwire knows up to 1; run the newer podwire again"):
            node.load()
        assert node.file.read_bytes() == before and node.aside() == ["allocations.lock"]
        with pytest.raises(StoreTooNew):
            node.load()

    def test_older_is_upgraded_step_by_step(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        records = [msgspec.to_builtins(journal.put(attachment(number))) for number in (5, 6)]
        for record in records:
            record["attachment"]["container"] = record["attachment"].pop("key")["container_id"]
        node.filled()
        rewrite(node.file, {"type": "header", "schema": 1, "boot": "boot-1"}, *records)

        def to_2(record: dict[str, Any]) -> dict[str, Any]:
            record["attachment"]["network"] = "podwire"
            return record

        def to_3(record: dict[str, Any]) -> dict[str, Any]:
            old = record["attachment"]
            old["key"] = {
                "network": old.pop("network"),
                "container_id": old.pop("container"),
                "ifname": "eth0",
            }
            return record

        monkeypatch.setattr(journal, "SCHEMA", 3)
        monkeypatch.setattr(journal, "UPGRADES", {1: to_2, 2: to_3})
        state = node.load()
        assert list(state.attachments.values()) == [attachment(5), attachment(6)] and state.recovered == ""
        assert b'"schema":3' in node.file.read_bytes().split(b"\n")[0]
        monkeypatch.setattr(journal, "UPGRADES", {})
        assert len(node.load().attachments) == 2, "upgraded once, on the file"


def test_a_reboot_forgets(node: Node) -> None:
    node.filled()
    state = node.load(boot_id="boot-2")
    assert (dict(state.attachments), state.recovered) == ({}, "")
    assert node.aside() == ["allocations.before-reboot-19700112T134640Z", "allocations.lock"]
    assert dict(node.load(boot_id="boot-2").attachments) == {}


def test_the_kernels_boot_id_is_used(node: Node) -> None:
    node.load(boot_id=None)
    assert Path("/proc/sys/kernel/random/boot_id").read_bytes().strip() in node.file.read_bytes()


class TestLock:
    def test_a_second_agent_is_refused_by_name(self, node: Node) -> None:
        node.load()
        second = JournalStore(str(node.directory))
        with pytest.raises(StoreError, match=rf"belong to another agent, pid {os.getpid()}; stop it first"):
            second.load()
        second.close()
        node.opened[-1].put(attachment(5))

    def test_the_lock_ends_with_the_process(self, node: Node) -> None:
        script = (
            "import os, signal, sys; from podwire.drivers.store import JournalStore; "
            "JournalStore(sys.argv[1], boot_id='boot-1').load(); os.kill(os.getpid(), signal.SIGKILL)"
        )
        died = subprocess.run([sys.executable, "-c", script, str(node.directory)], check=False, timeout=60)
        assert died.returncode == -9
        node.load()

    def test_children_do_not_inherit_it(self, node: Node) -> None:
        node.load()
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
        try:
            node.close()
            node.load()
        finally:
            child.kill()
            child.wait()

    def test_a_directory_that_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match=r"cannot be read: .*see that .* is a writable directory of root"):
            JournalStore(str(tmp_path / "file" / "run")).load()


class TestCompaction:
    def churn(self, store: JournalStore, times: int) -> None:
        for turn in range(times):
            entry = attachment(20 + turn % 50)
            store.put(entry)
            store.remove(entry.key, {entry.ips[0]: NOW + turn})

    def test_dead_records_go(self, node: Node) -> None:
        made = node.filled()
        store = node.store(slack=100)
        store.load()
        self.churn(store, 400)
        assert node.file.read_bytes().count(b"\n") <= 120
        state = node.load()
        assert list(state.attachments.values()) == made
        assert len(state.cooling) == 50 and max(state.cooling.values()) == NOW + 399

    def test_old_cooling_addresses_are_forgotten(self, node: Node) -> None:
        store = node.store(slack=10)
        store.load()
        store.remove(attachment(5).key, {ip_address("10.244.1.5"): NOW})
        node.now = NOW + store_module.KEEP_COOLING + 1
        self.churn(store, 10)
        assert ip_address("10.244.1.5") not in node.load().cooling

    def test_ever_new_addresses_do_not_grow_the_file_or_memory(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store_module, "MOST_COOLING", 20)
        store = node.store(slack=50)
        store.load()
        for turn in range(500):
            store.remove(attachment(5).key, {ip_address(0xFD << 120 | turn): NOW + turn})
        assert node.file.stat().st_size < 20_000
        cooling = store.load().cooling
        assert 20 <= len(cooling) <= 80 and NOW + 499 in cooling.values()

    def test_its_failure_does_not_fail_the_change(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = node.store(slack=10)
        store.load()
        tries: list[str] = []

        def refuse(self: Path, target: Path) -> Path:
            tries.append(self.name)
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", refuse)
            self.churn(store, 40)
        assert len(tries) > 1, "tried again"
        assert len(tries) < 40, "but not at every change"
        assert "cannot be compacted, tried again later" in caplog.text
        assert not (node.directory / "allocations.new").exists()
        self.churn(store, 10)
        assert node.file.read_bytes().count(b"\n") < 40
        assert len(node.load().cooling) == 40


class TestFullFilesystem:
    def test_a_write_that_does_not_fit_is_taken_back(self, node: Node) -> None:
        """RLIMIT_FSIZE stops a file as a full filesystem does: a short write, then an error. Python ignores SIGXFSZ."""
        store = node.store()
        store.load()
        store.put(attachment(5))
        size = node.file.stat().st_size
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
        try:
            with pytest.raises(StoreError, match=r"attachment podwire/container-6/eth0 of default/pod-6 cannot be rec"):
                store.put(attachment(6))
            with pytest.raises(StoreError, match=rf"File too large; free space there \(df {node.directory}\)"):
                store.put(attachment(6))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert node.file.stat().st_size == size
        assert list(store.load().attachments.values()) == [attachment(5)]
        store.put(attachment(7))
        assert list(node.load().attachments.values()) == [attachment(5), attachment(7)]

    def test_taking_back_is_tried_again(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        store = node.store()
        store.load()

        def tear(fd: int, data: bytes, offset: int) -> int:
            pwrite(fd, data[:30], offset)
            raise OSError(errno.EIO, "Input/output error")

        def refuse(fd: int, length: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        pwrite = os.pwrite
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", tear)
            patch.setattr(os, "ftruncate", refuse)
            with pytest.raises(StoreError, match="kernel's log"):
                store.put(attachment(6))
        store.remove(attachment(9).key, {ip_address("10.0.0.1"): 1.0})
        state = node.load()
        assert (dict(state.attachments), len(state.cooling), state.recovered) == ({}, 1, "")


def test_threads_may_write_at_once(node: Node) -> None:
    store = node.store(slack=50)
    store.load()

    def work(base: int) -> None:
        for number in range(base, base + 40):
            store.put(attachment(number, f"10.244.{number // 250}.{number % 250}/32"))
            if number % 2:
                store.remove(attachment(number).key, {})

    threads = [threading.Thread(target=work, args=(base,)) for base in range(0, 240, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = node.load()
    assert len(state.attachments) == 120 and state.recovered == ""
