"""A process that is killed while it writes the journal (run by test_store_kill)."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

from podwire.drivers.store import JournalStore
from podwire.ipam.store import Store
from tests.support.attachments import attachment

SLACK = 12
CLOCK = 1000.0


def changes(seed: int) -> Iterator[Callable[[Store], None]]:
    """An endless sequence of changes that depends on *seed* alone."""
    rng = random.Random(seed)
    turn = 0
    while True:
        turn += 1
        number = rng.randrange(2, 30)
        if rng.random() < 0.6:
            entry = attachment(number, state=rng.choice(["allocated", "ready"]), created_at=float(turn))
            yield lambda store, entry=entry: store.put(entry)  # type: ignore[misc]
        else:
            key, freed = attachment(number).key, {ip_address(f"10.244.1.{number}"): float(turn)}
            yield lambda store, key=key, freed=freed: store.remove(key, freed)  # type: ignore[misc]


def open_store(directory: str) -> JournalStore:
    return JournalStore(directory, clock=lambda: CLOCK, slack=SLACK)


def write_until_killed(directory: str, seed: int) -> None:
    """Acknowledge each change by a byte on standard output; the parent kills this process."""
    store = open_store(directory)
    store.load()
    for change in changes(seed):
        change(store)
        os.write(1, b".")


def die_at_call(directory: str, seed: int, count: int, fatal: int) -> None:
    """Fork, make *count* changes there, and die before the *fatal*-th of the calls that change files.

    Prints how many changes were acknowledged, and whether death came.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        calls = 0

        def deadly(name: str) -> None:
            original = getattr(os, name)

            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == fatal:
                    if name == "pwrite":  # half of it reached the file
                        original(args[0], args[1][: len(args[1]) // 2], args[2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*args, **kwargs)

            setattr(os, name, call)

        for name in ("open", "pwrite", "rename", "link", "ftruncate", "unlink", "close", "mkdir"):
            deadly(name)
        store = open_store(directory)
        store.load()
        for _, change in zip(range(count), changes(seed), strict=False):
            change(store)
            os.write(writer, b".")
        os._exit(0)
    os.close(writer)
    acknowledged = 0
    while data := os.read(reader, 4096):
        acknowledged += len(data)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    print(acknowledged, int(os.WIFSIGNALED(status)), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write_until_killed(sys.argv[2], int(sys.argv[3]))
    else:
        for line in sys.stdin:
            directory, seed, count, fatal = line.split()
            die_at_call(directory, int(seed), int(count), int(fatal))
