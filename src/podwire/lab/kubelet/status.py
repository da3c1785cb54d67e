"""A pod's status, computed from what the kubelet knows of its containers. Pure.

Source: Kubernetes, "Pod Lifecycle"; the phase as in the kubelet's getPhase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from podwire.lab.kubelet.objects import Container, Pod
from podwire.lab.kubelet.restart import restarts

Phase = Literal["Pending", "Running", "Succeeded", "Failed"]


class Ended(msgspec.Struct, frozen=True):
    """How one run of a container ended; times are RFC 3339."""

    exit_code: int
    signal: int
    started_at: str
    finished_at: str
    container_id: str
    reason: str = ""

    def to_state(self) -> dict[str, Any]:
        """As in containerStatuses[].state.terminated."""
        state = {
            "exitCode": self.exit_code,
            "reason": self.reason or ("Completed" if self.exit_code == 0 else "Error"),
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
            "containerID": self.container_id,
        }
        return state | ({"signal": self.signal} if self.signal else {})


class ContainerView(msgspec.Struct):
    """A container as it stands. Running when *started_at* is set; else waiting, or terminated when *waiting* is empty."""

    name: str
    image: str
    restart_count: int = 0
    container_id: str = ""
    started_at: str = ""
    waiting: str = "ContainerCreating"
    message: str = ""
    ended: Ended | None = None
    previous: Ended | None = None
    ready: bool = False
    started: bool = False

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return bool(self.started_at)

    @property
    def last_end(self) -> Ended | None:
        """The latest end of it, while it does not run."""
        return None if self.running else self.ended or self.previous

    def to_status(self) -> dict[str, Any]:
        """As in containerStatuses[]."""
        if self.running:
            state: dict[str, Any] = {"running": {"startedAt": self.started_at}}
        elif self.waiting or self.ended is None:
            word = self.waiting or "ContainerCreating"
            state = {"waiting": {"reason": word} | ({"message": self.message} if self.message else {})}
        else:
            state = {"terminated": self.ended.to_state()}
        previous = self.ended if self.waiting and self.ended else self.previous
        return {
            "name": self.name,
            "image": self.image,
            "imageID": "",
            "containerID": self.container_id,
            "restartCount": self.restart_count,
            "ready": self.ready and self.running,
            "started": self.started and self.running,
            "state": state,
            "lastState": {"terminated": previous.to_state()} if previous else {},
        }


class PodView(msgspec.Struct):
    """A pod as it stands: *failure* is (reason, message) of a pod that was given up whole."""

    start_time: str
    host_ips: tuple[str, ...]
    pod_ips: tuple[str, ...] = ()
    sandbox_ready: bool = False
    init: dict[str, ContainerView] = msgspec.field(default_factory=dict)
    main: dict[str, ContainerView] = msgspec.field(default_factory=dict)
    failure: tuple[str, str] | None = None


def initialized(pod: Pod, views: Mapping[str, ContainerView]) -> bool:
    """Whether every init container has succeeded."""
    ends = [views[container.name].ended for container in pod.spec.init_containers if container.name in views]
    return len(ends) == len(pod.spec.init_containers) and all(end is not None and end.exit_code == 0 for end in ends)


def init_failed(pod: Pod, views: Mapping[str, ContainerView]) -> bool:
    """Whether an init container has failed for good."""
    policy = "Never" if pod.spec.restart_policy == "Never" else "OnFailure"
    ends = [view.ended for view in views.values() if not view.waiting and not view.running]
    return any(end is not None and end.exit_code and not restarts(policy, end.exit_code) for end in ends)


def phase(pod: Pod, view: PodView) -> Phase:
    """The pod's phase."""
    if view.failure or init_failed(pod, view.init):
        return "Failed"
    if not initialized(pod, view.init):
        return "Pending"
    containers = [view.main[container.name] for container in pod.spec.containers if container.name in view.main]
    never_ran = [one for one in containers if not one.running and one.last_end is None]
    if never_ran or not containers:
        return "Pending"
    if any(one.running for one in containers):
        return "Running"
    ends = [one.last_end for one in containers if one.last_end is not None]
    policy = "Never" if pod.metadata.deletion_timestamp else pod.spec.restart_policy
    if any(restarts(policy, end.exit_code) for end in ends):
        return "Running"
    return "Succeeded" if all(end.exit_code == 0 for end in ends) else "Failed"


def pod_status(pod: Pod, view: PodView, now: str) -> dict[str, Any]:
    """The whole status to write; *now* is RFC 3339. A condition that stays keeps its transition time."""
    current = phase(pod, view)
    over = current in ("Succeeded", "Failed")
    unready = sorted(name for name, one in view.main.items() if not (one.ready and one.running))
    ready = not unready and current == "Running"
    why_unready = ("PodCompleted" if current == "Succeeded" else "PodFailed") if over else "ContainersNotReady"
    shown = f"containers with unready status: [{' '.join(unready)}]" if unready and not over else ""
    done = initialized(pod, view.init)
    incomplete = [
        container.name
        for container in pod.spec.init_containers
        if not ((view_ := view.init.get(container.name)) and view_.ended and view_.ended.exit_code == 0)
    ]
    init_message = "" if done else f"containers with incomplete status: [{' '.join(incomplete)}]"
    wanted = [
        _condition("PodReadyToStartContainers", view.sandbox_ready and not over),
        _condition("Initialized", done, "ContainersNotInitialized", init_message),
        _condition("Ready", ready, why_unready, shown),
        _condition("ContainersReady", ready, why_unready, shown),
        _condition("PodScheduled", True),
    ]
    status = {
        "phase": current,
        "conditions": _keep_times(wanted, pod.status.get("conditions") or [], now),
        "hostIP": next(iter(view.host_ips), ""),
        "hostIPs": [{"ip": ip} for ip in view.host_ips],
        "startTime": view.start_time,
        "containerStatuses": [view.main[c.name].to_status() for c in pod.spec.containers if c.name in view.main],
    }
    if view.pod_ips:
        status |= {"podIP": view.pod_ips[0], "podIPs": [{"ip": ip} for ip in view.pod_ips]}
    if view.init:
        status["initContainerStatuses"] = [
            view.init[c.name].to_status() for c in pod.spec.init_containers if c.name in view.init
        ]
    if view.failure:
        status |= {"reason": view.failure[0], "message": view.failure[1]}
    return status


def blank_views(containers: Sequence[Container], waiting: str) -> dict[str, ContainerView]:
    """Views of containers that have not been made yet."""
    return {one.name: ContainerView(one.name, one.image, waiting=waiting) for one in containers}


def _condition(kind: str, true: bool, reason: str = "", message: str = "") -> dict[str, Any]:
    condition = {"type": kind, "status": "True" if true else "False"}
    if not true and reason:
        condition["reason"] = reason
    if not true and message:
        condition["message"] = message
    return condition


def _keep_times(wanted: list[dict[str, Any]], before: Sequence[Mapping[str, Any]], now: str) -> list[dict[str, Any]]:
    """Give each condition its transition time, and keep those that others own (readiness gates)."""
    old = {str(condition.get("type")): condition for condition in before}
    for condition in wanted:
        was = old.pop(condition["type"], {})
        same = was.get("status") == condition["status"] and "lastTransitionTime" in was
        condition["lastTransitionTime"] = was["lastTransitionTime"] if same else now
    return wanted + [dict(condition) for condition in old.values()]
