"""A process is never mistaken for another, and ends when told."""

from __future__ import annotations

import os
import signal
import subprocess

import msgspec

from podwire.lab import processes
from podwire.lab.sandbox.plan import MARKER


def test_a_reused_pid_is_another_process() -> None:
    me = processes.identify(os.getpid())
    assert me is not None and processes.alive(me)
    earlier = msgspec.structs.replace(me, start=me.start - 1)
    assert not processes.alive(earlier)
    assert not processes.send(earlier, signal.SIGKILL)  # or this test would end here
    assert not processes.alive(msgspec.structs.replace(me, boot="another boot"))


def test_stop_asks_first_and_then_insists() -> None:
    deaf = subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; echo; read nothing"], stdin=-1, stdout=-1)
    assert deaf.stdout is not None and deaf.stdin is not None
    deaf.stdout.readline()
    polite = subprocess.Popen(["/bin/sleep", "1000"])
    try:
        identities = [processes.identify(one.pid) for one in (deaf, polite)]
        known = [identity for identity in identities if identity is not None]
        assert len(known) == 2
        assert processes.stop(known, 0.2) == []
        assert (deaf.wait(10), polite.wait(10)) == (-signal.SIGKILL, -signal.SIGTERM)
    finally:
        for one in (deaf, polite):
            one.kill()
            one.wait()
        deaf.stdin.close()
        deaf.stdout.close()


def test_members_are_found_by_their_marker_and_never_the_caller() -> None:
    marker = f"/nowhere/{os.getpid()}"
    child = subprocess.Popen(["/bin/sleep", "1000"], env={MARKER: marker})
    near = subprocess.Popen(["/bin/sleep", "1000"], env={MARKER: marker + "0"})
    try:
        assert [one.pid for one in processes.members(marker)] == [child.pid]
    finally:
        for one in (child, near):
            one.kill()
            one.wait()
    assert processes.members(marker) == []


def test_a_zombie_counts_as_gone() -> None:
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.identify(child.pid) is None
    child.wait()
