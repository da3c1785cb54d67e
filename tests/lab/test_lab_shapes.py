"""Other shapes of lab keep the guarantees as well: plain routes, several subnets, a small MTU."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from podwire.agent.ask import ask
from podwire.lab.cluster import Lab
from podwire.lab.kubernetes import Kubernetes
from podwire.lab.lifecycle import down, up
from podwire.lab.spec import LabSpec
from podwire.verify.command import verify_command
from tests.support.netns import needs_root

pytestmark = [needs_root, pytest.mark.root, pytest.mark.lab]


@contextmanager
def lab_of(**shape: object) -> Iterator[Lab]:
    """A lab of that shape, taken down whatever happens."""
    name = f"test-{secrets.token_hex(4)}"
    try:
        yield up(LabSpec(name=name, **shape), Kubernetes())  # type: ignore[arg-type]
    finally:
        down(name)


@pytest.mark.parametrize(
    "shape",
    [
        {"nodes": 2, "backend": "host-gw"},
        {"nodes": 3, "backend": "vxlan", "subnets": 2},
        {"nodes": 2, "backend": "vxlan", "mtu": 1400, "pod_cidrs": ("10.60.0.0/16",)},
    ],
    ids=["host-gw", "two-subnets", "small-mtu"],
)
def test_the_guarantees_hold(shape: dict[str, object]) -> None:
    with lab_of(**shape) as lab:
        status = verify_command.main(["--kubeconfig", str(lab.kubeconfig), "--quiet"], standalone_mode=False)
        assert status == 0


def test_host_gw_names_the_peers_that_it_cannot_reach() -> None:
    """Nodes in two subnets share no L2 segment: the agent says so, by name, and routes nothing there."""
    with lab_of(nodes=2, backend="host-gw", subnets=2) as lab:
        status = ask(lab.node("node1").path("/run/podwire/control.sock"), "/v1/status")
        refusal = " ".join(status["refusals"])
        assert "node2" in refusal
        assert str(lab.node("node2").addresses[0]) in refusal
        assert "vxlan" in refusal
