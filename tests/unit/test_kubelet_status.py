"""A pod's status from its containers' states: tables, as the Pod lifecycle documents them."""

from __future__ import annotations

from typing import Any

import pytest

from podwire.lab.kubelet.objects import Container, Pod, PodMeta, PodSpec
from podwire.lab.kubelet.status import ContainerView, Ended, PodView, init_failed, phase, pod_status

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"


def pod(policy: str = "Always", init: tuple[str, ...] = (), main: tuple[str, ...] = ("main",), **meta: Any) -> Pod:
    spec = PodSpec(
        containers=tuple(Container(name, "podwire/shell") for name in main),
        init_containers=tuple(Container(name, "podwire/shell") for name in init),
        restart_policy=policy,
    )
    return Pod(PodMeta(name="web", namespace="default", uid="u1", **meta), spec)


def running(name: str = "main", ready: bool = True, restarts: int = 0) -> ContainerView:
    return ContainerView(name, "i", restarts, "podwire://x", NOW, waiting="", ready=ready, started=True)


def ended(code: int, name: str = "main", waiting: str = "") -> ContainerView:
    return ContainerView(name, "i", 0, "podwire://x", waiting=waiting, ended=Ended(code, 0, NOW, LATER, "podwire://x"))


def view(*main: ContainerView, init: tuple[ContainerView, ...] = (), **changes: Any) -> PodView:
    made = PodView(NOW, ("10.89.0.11",), ("10.244.1.5",), sandbox_ready=True, **changes)
    made.main = {one.name: one for one in main}
    made.init = {one.name: one for one in init}
    return made


@pytest.mark.parametrize(
    ("policy", "containers", "expected"),
    [
        ("Always", [ContainerView("main", "i")], "Pending"),
        ("Always", [running()], "Running"),
        ("Always", [ended(0)], "Running"),
        ("Always", [ended(1, waiting="CrashLoopBackOff")], "Running"),
        ("OnFailure", [ended(0)], "Succeeded"),
        ("OnFailure", [ended(1)], "Running"),
        ("Never", [ended(0)], "Succeeded"),
        ("Never", [ended(1)], "Failed"),
        ("Never", [ended(0), running("b")], "Running"),
        ("Never", [ended(0), ended(3, "b")], "Failed"),
        ("Always", [running(), ContainerView("b", "i", waiting="CreateContainerError")], "Pending"),
    ],
)
def test_phase(policy: str, containers: list[ContainerView], expected: str) -> None:
    made = pod(policy, main=tuple(one.name for one in containers))
    assert phase(made, view(*containers)) == expected


def test_a_pod_that_is_being_deleted_is_over_when_its_containers_are() -> None:
    assert phase(pod(deletion_timestamp=LATER), view(ended(0))) == "Succeeded"
    assert phase(pod(deletion_timestamp=LATER), view(ended(137))) == "Failed"
    assert phase(pod(deletion_timestamp=LATER), view(running())) == "Running"


def test_init_containers_hold_the_pod_back_and_may_fail_it() -> None:
    waiting = view(ContainerView("main", "i"), init=(running("setup"),))
    assert phase(pod(init=("setup",)), waiting) == "Pending"
    done = view(running(), init=(ended(0, "setup"),))
    assert phase(pod(init=("setup",)), done) == "Running"
    failed = view(ContainerView("main", "i"), init=(ended(1, "setup"),))
    assert phase(pod("Never", init=("setup",)), failed) == "Failed"
    assert init_failed(pod("Never", init=("setup",)), failed.init)
    assert phase(pod("Always", init=("setup",)), failed) == "Pending"


def test_a_ready_pods_status() -> None:
    status = pod_status(pod(), view(running()), LATER)
    assert status["phase"] == "Running"
    assert (status["podIP"], status["podIPs"]) == ("10.244.1.5", [{"ip": "10.244.1.5"}])
    assert (status["hostIP"], status["startTime"]) == ("10.89.0.11", NOW)
    assert {one["type"]: one["status"] for one in status["conditions"]} == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )
    (container,) = status["containerStatuses"]
    assert container["state"] == {"running": {"startedAt": NOW}} and container["ready"] and container["started"]


def test_an_unready_container_is_named_and_conditions_keep_their_time() -> None:
    made = pod()
    made.status = {
        "conditions": [
            {"type": "Ready", "status": "False", "lastTransitionTime": NOW},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": NOW},
            {"type": "example.com/gate", "status": "True", "lastTransitionTime": NOW},
        ]
    }
    status = pod_status(made, view(running(ready=False)), LATER)
    conditions = {one["type"]: one for one in status["conditions"]}
    assert conditions["Ready"]["message"] == "containers with unready status: [main]"
    assert conditions["Ready"]["lastTransitionTime"] == NOW
    assert conditions["Initialized"]["lastTransitionTime"] == LATER
    assert conditions["example.com/gate"]["status"] == "True"


@pytest.mark.parametrize(
    ("shown", "state", "last"),
    [
        (ContainerView("c", "i"), "waiting", False),
        (ended(2), "terminated", False),
        (ended(2, waiting="CrashLoopBackOff"), "waiting", True),
        (ContainerView("c", "i", 1, "x", NOW, waiting="", previous=Ended(2, 0, NOW, LATER, "x")), "running", True),
    ],
)
def test_state_and_last_state(shown: ContainerView, state: str, last: bool) -> None:
    status = shown.to_status()
    assert list(status["state"]) == [state]
    assert bool(status["lastState"]) is last
    if last:
        assert status["lastState"]["terminated"]["exitCode"] == 2


def test_reasons_of_an_end() -> None:
    assert Ended(0, 0, NOW, LATER, "x").to_state()["reason"] == "Completed"
    killed = Ended(137, 9, NOW, LATER, "x").to_state()
    assert (killed["reason"], killed["signal"], killed["exitCode"]) == ("Error", 9, 137)
    assert Ended(137, 0, NOW, LATER, "x", "ContainerStatusUnknown").to_state()["reason"] == "ContainerStatusUnknown"
