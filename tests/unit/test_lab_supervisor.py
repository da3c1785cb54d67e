"""The init's back-off, and its bookkeeping of services, without namespaces: plain children of the test."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire.lab.sandbox.supervisor import FIRST_DELAY, LONGEST_DELAY, Supervisor, restart_delay


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    home = os.open(tmp_path, os.O_RDONLY)
    made = Supervisor("node1", home, home, {})
    try:
        yield made
    finally:
        made.stop(0.0)
        for service in made.services.values():
            if service.pid:
                os.kill(service.pid, 9)
                os.waitpid(service.pid, 0)
        os.close(home)


def _status(directory: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((directory / "services.json").read_text())
    return found


def _await_death(supervisor: Supervisor, name: str, now: float) -> None:
    """Reap until the service's process is gone, which takes as long as it takes."""
    for _ in range(2000):
        supervisor.reap(now)
        if not supervisor.services[name].pid:
            return
        time.sleep(0.005)
    raise AssertionError(f"{name} still runs")


def test_the_delay_doubles_to_a_limit() -> None:
    delays = [restart_delay(deaths) for deaths in range(1, 40)]
    assert delays[:3] == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY]
    assert delays == sorted(delays) and delays[-1] == LONGEST_DELAY


def test_a_service_that_dies_comes_back_when_its_delay_is_over(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.adopt({"agent": {"argv": ["/bin/sh", "-c", "exit 3"], "env": {}}}, 100.0)
    first = supervisor.services["agent"].pid
    assert first and _status(tmp_path)["agent"]["state"] == "running"
    _await_death(supervisor, "agent", 100.1)
    supervisor.tick(100.1)
    assert _status(tmp_path)["agent"] == {
        "pid": 0,
        "state": "restarting",
        "restarts": 1,
        "lastExit": "exited with status 3",
    }
    assert supervisor.next_event() == pytest.approx(100.1 + FIRST_DELAY)
    supervisor.tick(100.1 + FIRST_DELAY)
    assert supervisor.services["agent"].pid not in (0, first)
    assert "exited with status 3; starting it again" in (tmp_path / "node1-init.log").read_text()


def test_a_steady_run_forgives_earlier_deaths(supervisor: Supervisor) -> None:
    supervisor.adopt({"agent": {"argv": ["/bin/false"], "env": {}}}, 0.0)
    supervisor.services["agent"].deaths = 9
    _await_death(supervisor, "agent", 60.0)
    assert supervisor.services["agent"].deaths == 1


def test_a_disabled_service_is_stopped_and_stays_so(supervisor: Supervisor, tmp_path: Path) -> None:
    plan = {"argv": ["/bin/sleep", "1000"], "env": {}}
    supervisor.adopt({"agent": plan}, 0.0)
    supervisor.adopt({"agent": {**plan, "enabled": False}}, 1.0)
    _await_death(supervisor, "agent", 1.1)
    supervisor.tick(100.0)
    assert _status(tmp_path)["agent"]["state"] == "stopped"
    assert supervisor.next_event() is None
    supervisor.adopt({"agent": plan}, 101.0)
    assert supervisor.services["agent"].pid


def test_what_ignores_sigterm_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap '' TERM; : > {ready}; while :; do sleep 0.05; done"
    supervisor.adopt({"deaf": {"argv": ["/bin/sh", "-c", script], "env": {}}}, 0.0)
    for _ in range(2000):
        if ready.exists():
            break
        time.sleep(0.005)
    supervisor.stop(1.0)
    due = supervisor.next_event()
    assert due is not None
    supervisor.tick(due)
    _await_death(supervisor, "deaf", due)
    assert not supervisor.running and supervisor.next_event() is None


def test_a_program_that_does_not_exist_is_retried_and_told(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.adopt({"agent": {"argv": ["/no/such/program"], "env": {}}}, 0.0)
    assert _status(tmp_path)["agent"]["state"] == "restarting"
    assert "cannot be started" in str(_status(tmp_path)["agent"]["lastExit"])
