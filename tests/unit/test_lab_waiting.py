"""Waiting ends when all is well, when a program keeps dying, or when time is up; and says why."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import yaml

from podwire.cluster.client import Client
from podwire.lab.cluster import Lab
from podwire.lab.sandbox.host import Sandbox, ServiceStatus
from podwire.lab.waiting import CRASH_LOOP, wait
from podwire.model.errors import LabError, Unavailable


class _Host:
    """A host whose agent dies once more each time that it is asked."""

    name = "node1"

    def __init__(self, dying: bool) -> None:
        self._dying = dying
        self._deaths = 7  # of an earlier time: they do not count

    def services(self) -> dict[str, ServiceStatus]:
        self._deaths += self._dying
        return {"agent": ServiceStatus(0, "restarting", self._deaths, "exited with status 1")}

    def log_tail(self, service: str) -> str:
        return f"{service}: no such device"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Just enough of a lab: a kubeconfig that leads nowhere, and a directory of logs."""
    document = {
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "clusters": [{"name": "lab", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "lab", "user": {}}],
    }
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **document}))
    return cast(Lab, SimpleNamespace(kubeconfig=kubeconfig, directory=SimpleNamespace(logs=tmp_path)))


def _hosts(*, dying: bool) -> list[Sandbox]:
    return [cast(Sandbox, _Host(dying))]


def test_it_ends_when_nothing_is_missing(lab: Lab) -> None:
    answers = iter(["node1 has not registered", "node1 is NotReady", ""])

    async def check(_: Client) -> str:
        return next(answers)

    wait(lab, _hosts(dying=False), check, 60)
    assert next(answers, "used up") == "used up"


def test_an_api_server_that_is_not_there_yet_is_waited_for(lab: Lab) -> None:
    tries = []

    async def check(_: Client) -> str:
        tries.append(1)
        if len(tries) < 3:
            raise Unavailable("no answer")
        return ""

    wait(lab, _hosts(dying=False), check, 60)
    assert len(tries) == 3


def test_a_program_that_keeps_dying_ends_it_with_its_last_words(lab: Lab) -> None:
    async def check(_: Client) -> str:
        return "node1 is NotReady"

    with pytest.raises(LabError, match=r"agent on node1 exited with status 1 \d+ times") as caught:
        wait(lab, _hosts(dying=True), check, 60)
    assert "no such device" in str(caught.value)
    assert CRASH_LOOP > 1


def test_it_gives_up_in_the_end_and_tells_what_is_missing(lab: Lab) -> None:
    async def check(_: Client) -> str:
        return "node2 is NotReady (no CNI)"

    with pytest.raises(LabError, match=r"node2 is NotReady \(no CNI\)"):
        wait(lab, _hosts(dying=False), check, 0)
