"""kill -9 of a real agent at random points under 16 runtimes at once: nothing lost, nothing doubled, nothing left."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent_node import AgentNode, agent_node, full
from tests.support.netns import needs_root
from tests.support.node import wait_for

pytestmark = [needs_root, pytest.mark.root, pytest.mark.faults, pytest.mark.timeout(900)]

KILLS = 50 if full() else 6
WORKERS = 16
SEED = 20251


class Crowd:
    """tests/support/load.py, running in the node."""

    def __init__(self, made: AgentNode) -> None:
        command = made.node.command(sys.executable, "-m", "tests.support.load", str(WORKERS))
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=made.node.environment()
        )
        assert self.read() == "ready"

    def read(self) -> str:
        """One line of its output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, word: str) -> None:
        """One command."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def stop(self) -> dict[str, Any]:
        """Bring it to rest; what it knows."""
        self.say("stop")
        found: dict[str, Any] = json.loads(self.read())
        return found

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def kernel_addresses(made: AgentNode) -> dict[str, str]:
    """Address -> host end, by the node's routes."""
    routes = made.node.run("ip", "-4", "route", "show", "proto", "112").stdout
    return dict(re.findall(r"^(\S+) dev (pw[0-9a-f]{11}) ", routes, re.MULTILINE))


def agreement(made: AgentNode, attached: dict[str, str]) -> str:
    """ "" when runtimes, agent and kernel agree on who has which address; else the difference."""
    known = {found["container"]: found["ips"][0] for found in made.ask("/v1/ip").get("attachments", [])}
    if known != attached:
        return f"the agent has {sorted(set(known.items()) ^ set(attached.items()))} otherwise than the runtimes"
    routed = kernel_addresses(made)
    if set(routed) != set(attached.values()):
        return f"the kernel has {sorted(set(routed) ^ set(attached.values()))} otherwise than the runtimes"
    return ""


def test_killed_under_load(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with agent_node(tmp_path / "log", ipam={"cooldownSeconds": 1}) as made:
        crowd = Crowd(made)
        try:
            for kill in range(KILLS):
                crowd.say("go")
                time.sleep(0.05 + chance.random() * 0.4)
                made.kill_agent()
                time.sleep(chance.random() * 0.1)
                made.start_agent()
                time.sleep(chance.random() * 0.3)
                found = crowd.stop()
                assert found["faults"] == [], f"kill {kill}"
                attached = found["attached"]
                assert len(set(attached.values())) == len(attached)
                difference = "not looked"

                def agreed(attached: dict[str, str] = attached) -> bool:
                    nonlocal difference
                    difference = agreement(made, attached)
                    return not difference

                try:
                    wait_for(agreed, "agreement", 20)
                except AssertionError:
                    pytest.fail(f"after kill {kill}: {difference}")
            assert found["counts"]["adds"] > KILLS * 5, "too little load to prove anything"
        finally:
            crowd.close()
