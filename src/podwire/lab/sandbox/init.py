"""The first process of a sandbox: ``python -I -S -c … PLAN`` (see :mod:`podwire.lab.sandbox.host`).

The process that is started unshares, forks, prints the init's pid (as the machine sees it) once the init reports that
its mounts stand, and exits 0; or it prints why not on stderr and exits 1. The init then

* SIGHUP: reads the plan again and adopts its services;
* SIGTERM, SIGINT: stops the services and exits, which ends everything else in the sandbox;
* SIGCHLD: reaps.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any, NoReturn

from podwire.lab.sandbox import mounts, syscalls
from podwire.lab.sandbox.supervisor import Supervisor, fail

PLAN_NAME = "init.json"
_SIGNALS = {signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT}
_NAMESPACES = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWCGROUP
)


def main() -> NoReturn:
    """Entry point: the directory that holds the plan is the only argument."""
    directory = sys.argv[1]
    home = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    plan = _read_plan(home)
    logs = os.open(plan["logs"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    ready, report = os.pipe()
    syscalls.unshare(_NAMESPACES)
    pid = os.fork()
    if pid:
        os.close(report)
        sys.exit(_await_init(pid, ready))
    os.close(ready)
    try:
        _set_up(plan)
        supervisor = Supervisor(plan["hostname"], home, logs, plan["descriptors"])
        supervisor.adopt(plan["services"], time.monotonic())
    except BaseException as error:
        os.write(report, str(error).encode()[:4000] or b"failed")
        os._exit(1)
    os.write(report, b"ready")
    os.close(report)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    _serve(supervisor, home)


def _read_plan(home: int) -> dict[str, Any]:
    fd = os.open(PLAN_NAME, os.O_RDONLY | os.O_CLOEXEC, dir_fd=home)
    with os.fdopen(fd) as file:
        plan: dict[str, Any] = json.load(file)
    return plan


def _await_init(pid: int, ready: int) -> int:
    """In the starting process: wait for the init's word, pass on its pid."""
    answer = b""
    while chunk := os.read(ready, 4096):
        answer += chunk
    if answer == b"ready":
        sys.stdout.write(f"{pid}\n")
        return 0
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    fail(answer.decode(errors="replace") or "the init died without a word")
    return 1


def _set_up(plan: dict[str, Any]) -> None:
    syscalls.set_hostname(plan["hostname"])
    os.umask(0o022)
    mounts.build(
        hide=plan["hide"],
        overlays={target: (upper, work) for target, (upper, work) in plan["overlays"].items()},
        binds=[(source, target) for source, target in plan["binds"]],
        keep=plan["keep"],
    )
    os.chdir("/")


def _serve(supervisor: Supervisor, home: int) -> NoReturn:
    stopping = False
    while not (stopping and not supervisor.running):
        due = supervisor.next_event()
        wait = 3600.0 if due is None else max(0.0, due - time.monotonic())
        info = signal.sigtimedwait(_SIGNALS, wait)
        number = info.si_signo if info else 0
        now = time.monotonic()
        if number in (signal.SIGTERM, signal.SIGINT) and not stopping:
            stopping = True
            supervisor.stop(now)
        elif number == signal.SIGHUP and not stopping:
            try:
                supervisor.adopt(_read_plan(home)["services"], now)
            except (OSError, ValueError, KeyError) as error:
                supervisor.say(f"the new plan cannot be read, the old one stays: {error}")
        supervisor.reap(now)
        supervisor.tick(now)
    supervisor.say("all services stopped")
    os._exit(0)
