"""The init's work after set-up: services run, come back with back-off when they die, and orphans are reaped.

:func:`restart_delay` is pure; :class:`Supervisor` is driven by :mod:`podwire.lab.sandbox.init`, which owns signals and
the clock's waiting. One thread, no imports beyond the standard library's lightest.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

FIRST_DELAY, LONGEST_DELAY, STEADY = 0.25, 10.0, 10.0
"""Seconds: the first restart's delay (doubling from there), its limit, and the run time that resets it."""

STOP_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

FIRST_DESCRIPTOR = 3
"""A service finds the descriptors lent to it here and up, in the order of its plan (as sd_listen_fds(3) has it)."""

_OUT_OF_THE_WAY = 64
"""The init holds them from here on, so that lending one never overwrites another."""


def restart_delay(deaths: int) -> float:
    """Seconds to wait after the *deaths*-th death in a row (from 1)."""
    return float(min(FIRST_DELAY * 2 ** min(deaths - 1, 16), LONGEST_DELAY))


class Service:
    """One program that should run. *pid* is 0 while it does not, as seen in the sandbox's pid namespace."""

    def __init__(self, name: str, plan: Mapping[str, Any]) -> None:
        self.name = name
        self.plan = plan
        self.pid = 0
        self.started = 0.0
        self.deaths = 0
        self.restarts = 0
        self.restart_at = 0.0
        self.kill_at = 0.0
        self.last_exit = ""
        self.wanted = bool(plan.get("enabled", True))

    @property
    def state(self) -> str:
        if self.pid:
            return "stopping" if self.kill_at else "running"
        return "restarting" if self.wanted else "stopped"


class Supervisor:
    """Services, and the files that tell of them: ``services.json`` in the directory of *home*, logs in that of *logs*.

    Both are directory descriptors, since the directories' paths mean nothing inside the sandbox.
    """

    def __init__(self, host: str, home: int, logs: int, descriptors: Mapping[str, int]) -> None:
        self.host = host
        self.services: dict[str, Service] = {}
        self._home, self._logs = home, logs
        self._descriptors = {
            name: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY) for name, fd in descriptors.items()
        }
        for fd in descriptors.values():
            os.close(fd)
        self._log = self._open_log("init")
        self._stopping = False

    def adopt(self, plans: Mapping[str, Mapping[str, Any]], now: float) -> None:
        """Make the services be those of *plans*: start, stop, or start anew what changed."""
        for name, plan in plans.items():
            service = self.services.get(name)
            if service is None:
                self.services[name] = Service(name, plan)
                continue
            changed = {**service.plan, "enabled": True} != {**plan, "enabled": True}
            service.plan, service.wanted = plan, bool(plan.get("enabled", True))
            service.restart_at = 0.0
            if changed or not service.wanted:
                self._stop(service, now)
        for name in set(self.services) - set(plans):
            self.services[name].wanted = False
            self._stop(self.services[name], now)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Start what is due, kill what did not stop in time, and write down how things are."""
        for service in self.services.values():
            if service.pid and service.kill_at and now >= service.kill_at:
                self._signal(service, signal.SIGKILL)
                service.kill_at = now + STOP_GRACE
            elif not service.pid and service.wanted and not self._stopping and now >= service.restart_at:
                self._start(service, now)
        self.write_status()

    def next_event(self) -> float | None:
        """When :meth:`tick` has something to do next; None when only a signal brings news."""
        times = [service.kill_at for service in self.services.values() if service.pid and service.kill_at]
        if not self._stopping:
            times += [service.restart_at for service in self.services.values() if service.wanted and not service.pid]
        return min(times, default=None)

    def reap(self, now: float) -> None:
        """Collect every child that ended, ours or an orphan."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            service = next((one for one in self.services.values() if one.pid == pid), None)
            if service is not None:
                self._ended(service, status, now)

    def stop(self, now: float) -> None:
        """Begin the end: every service is asked to stop."""
        self._stopping = True
        for service in self.services.values():
            self._stop(service, now)

    @property
    def running(self) -> bool:
        """Whether any service still has a process."""
        return any(service.pid for service in self.services.values())

    def say(self, text: str) -> None:
        """One line in the init's log."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        os.write(self._log, f"{stamp} {self.host}: {text}\n".encode())

    def write_status(self) -> None:
        """Replace ``services.json`` if anything changed."""
        text = json.dumps(
            {
                one.name: {"pid": one.pid, "state": one.state, "restarts": one.restarts, "lastExit": one.last_exit}
                for one in self.services.values()
            }
        )
        if text == getattr(self, "_written", None):
            return
        fd = os.open("services.json.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=self._home)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
        os.rename("services.json.new", "services.json", src_dir_fd=self._home, dst_dir_fd=self._home)
        self._written = text

    def _open_log(self, what: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(f"{self.host}-{what}.log", flags, 0o600, dir_fd=self._logs)

    def _start(self, service: Service, now: float) -> None:
        argv, env = service.plan["argv"], service.plan["env"]
        lent = [self._descriptors[name] for name in service.plan.get("descriptors", ())]
        log = self._open_log(service.name)
        try:
            service.pid = os.posix_spawn(
                argv[0],
                argv,
                env,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                    *((os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(lent, FIRST_DESCRIPTOR)),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except OSError as error:
            self._died(service, f"cannot be started: {error}", now)
            return
        finally:
            os.close(log)
        service.started, service.kill_at = now, 0.0
        self.say(f"{service.name} started, pid {service.pid} here")

    def _stop(self, service: Service, now: float) -> None:
        if service.pid and not service.kill_at:
            service.kill_at = now + STOP_GRACE
            self._signal(service, signal.SIGTERM)

    def _signal(self, service: Service, number: signal.Signals) -> None:
        try:
            os.kill(service.pid, number)  # not reaped yet, so the pid is still its own
        except ProcessLookupError:
            pass

    def _ended(self, service: Service, status: int, now: float) -> None:
        code = os.waitstatus_to_exitcode(status)
        how = f"exited with status {code}" if code >= 0 else f"was killed by signal {-code}"
        asked = bool(service.kill_at)
        service.pid, service.kill_at = 0, 0.0
        if asked:
            service.last_exit, service.deaths, service.restart_at = how, 0, now
            self.say(f"{service.name} {how}, as asked")
            return
        if now - service.started >= STEADY:
            service.deaths = 0
        self._died(service, how, now)

    def _died(self, service: Service, how: str, now: float) -> None:
        service.deaths += 1
        service.restarts += 1
        service.last_exit = how
        delay = restart_delay(service.deaths)
        service.restart_at = now + delay
        self.say(f"{service.name} {how}; starting it again in {delay:g} s")


def fail(text: str) -> None:
    """Tell whoever starts the sandbox why it cannot be."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
