"""A lab with pods in it, everything of it killed at once: ``down`` leaves no process, namespace, mount or file."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import resources
from pathlib import Path

import pytest

from podwire.cluster.client import Client
from podwire.cluster.kubeconfig import from_file
from podwire.cluster.manifests import Applier, parse
from podwire.cluster.resources import PODS
from podwire.lab import processes
from podwire.lab.cluster import Lab
from podwire.lab.kubernetes import Kubernetes
from podwire.lab.lifecycle import down, up
from podwire.lab.sandbox import syscalls
from podwire.lab.spec import LabSpec
from tests.support.netns import needs_root

pytestmark = [needs_root, pytest.mark.lab, pytest.mark.faults]


async def _run_pods(lab: Lab) -> None:
    """Apply the demo's manifest and return once every pod has an address."""
    manifest = (resources.files("podwire.lab") / "examples" / "demo.yaml").read_text()
    async with Client(from_file(lab.kubeconfig)) as client:
        await Applier(client).apply(parse(manifest, "demo.yaml"))
        while True:
            pods = (await client.list(PODS, "demo")).items
            if len(pods) > len(lab.nodes) and all(pod["status"].get("podIP") for pod in pods):
                return
            await asyncio.sleep(0.05)


def _namespaces_in_use() -> set[str]:
    """The pid and network namespaces that any process on the machine is in.

    The dead do not count: an init's remains wait for the machine's own first process to collect them.
    """
    found: set[str] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or processes.identify(int(entry.name)) is None:
            continue
        for kind in ("pid", "net"):
            with suppress(OSError):  # it ended meanwhile, or is no process
                found.add(str((entry / "ns" / kind).readlink()))
    return found


@pytest.mark.parametrize("killed", [True, False], ids=["after kill -9 of everything", "of a running lab"])
def test_down_leaves_nothing(monkeypatch: pytest.MonkeyPatch, killed: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="podwire-labs-") as parent:
        monkeypatch.setenv("PODWIRE_LAB_DIR", f"{parent}/labs")
        others = _namespaces_in_use()
        try:
            lab = up(LabSpec(name="killed", nodes=2), Kubernetes())
            asyncio.run(_run_pods(lab))
            # Two nodes and the control plane and the world have a pid namespace each, and so has every container.
            ours = _namespaces_in_use() - others
            assert len([one for one in ours if one.startswith("pid:")]) >= 4 + 3
            marker = lab.directory.marker
            if killed:
                for member in processes.members(marker):
                    processes.send(member, signal.SIGKILL)
        finally:
            down("killed")
        assert processes.members(marker) == []
        assert not _namespaces_in_use() & ours
        assert syscalls.mount_points(parent) == []
        assert list(Path(parent).iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["fabric", "control plane", "nodes"])
def test_an_interrupted_up_takes_everything_down_again(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, moment: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="podwire-labs-") as parent:
        labs = f"{parent}/labs"
        monkeypatch.setenv("PODWIRE_LAB_DIR", labs)
        command = [sys.executable, "-m", "podwire", "lab", "up", "--name", "stopped", "--nodes", "2"]
        with subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        ) as process:
            try:
                assert process.stderr is not None
                for line in process.stderr:
                    if moment in line:
                        break
                process.send_signal(number)
                rest = process.stderr.read()
                assert process.wait() == 130
                assert "taking it down again" in rest and "interrupted" in rest
            finally:
                process.kill()
                left = processes.members(f"{labs}/stopped"), list(Path(parent).iterdir())
                down("stopped")
        assert left == ([], [])
