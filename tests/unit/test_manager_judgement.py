"""The lab manager's judgement: where pods go, how a Deployment rolls, where daemons belong, when pods leave."""

from __future__ import annotations

import pytest

from podwire.lab.manager import daemons, rollout, scheduling, taints
from podwire.lab.manager.objects import (
    Condition,
    Meta,
    Node,
    NodeSpec,
    NodeStatus,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    RollingUpdate,
    Strategy,
    Taint,
    Toleration,
)
from podwire.lab.manager.rollout import Set


def node(name: str, *, ready: str = "True", labels: dict[str, str] | None = None, spec: NodeSpec | None = None) -> Node:
    return Node(Meta(name=name, labels=labels or {}), spec or NodeSpec(), NodeStatus([Condition("Ready", ready)]))


def pod(name: str, on: str = "", *, owner: str = "", ready: bool = True, labels: dict[str, str] | None = None) -> Pod:
    owners = [OwnerReference("DaemonSet", "d", owner, controller=True)] if owner else []
    meta = Meta(name=name, namespace="default", owner_references=owners, labels=labels or {})
    status = PodStatus("Running", [Condition("Ready", "True" if ready else "False")])
    return Pod(meta, PodSpec(node_name=on), status)


def test_pods_of_one_owner_are_spread_first() -> None:
    nodes = [node("a"), node("b")]
    load = scheduling.loads([pod("x1", "a", owner="x"), pod("y1", "b", owner="y"), pod("y2", "b", owner="y")])
    assert scheduling.choose(pod("x2", owner="x"), nodes, load).node == "b"
    assert scheduling.choose(pod("z1", owner="z"), nodes, load).node == "a"


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        (node("a", ready="False"), "were not ready"),
        (node("a", spec=NodeSpec(unschedulable=True)), "were unschedulable"),
        (node("a", spec=NodeSpec(taints=[Taint("k", "NoSchedule", "v")])), "untolerated taint {k: v}"),
        (node("a", labels={"disk": "hdd"}), "didn't match"),
    ],
)
def test_a_node_that_does_not_fit_is_told_with_the_reason(candidate: Node, says: str) -> None:
    wanting = pod("p")
    if candidate.metadata.labels:
        wanting.spec.node_selector = {"disk": "ssd"}
    verdict = scheduling.choose(wanting, [candidate], {})
    assert verdict.node == ""
    assert says in verdict.why
    assert verdict.why.startswith("0/1 nodes are available")


def test_a_rollout_never_leaves_its_bounds_and_ends() -> None:
    strategy = Strategy(rolling_update=RollingUpdate("25%", "25%"))
    replicas = 10
    surge, unavailable = rollout.limits(strategy, replicas)
    assert (surge, unavailable) == (3, 2)
    old, new = Set("old", 10, 10, 10), Set("new", 0, 0, 0)
    for _ in range(50):
        wanted = rollout.scale(replicas, surge, unavailable, new, [old])
        if not wanted:
            break
        asked_new, asked_old = wanted.get("new", new.replicas), wanted.get("old", old.replicas)
        assert asked_new + asked_old <= replicas + surge
        assert min(new.available, asked_new) + min(old.available, asked_old) >= replicas - unavailable
        # all that was asked for comes to be: the new pods become available, the old ones go
        old, new = Set("old", asked_old, asked_old, asked_old), Set("new", asked_new, asked_new, asked_new)
    assert (old.replicas, new.replicas) == (0, replicas)


def test_a_template_has_one_hash_whatever_the_order_of_its_keys() -> None:
    assert rollout.template_hash({"a": 1, "b": {"c": 2, "d": 3}}) == rollout.template_hash(
        {"b": {"d": 3, "c": 2}, "a": 1}
    )
    assert rollout.template_hash({"a": 1}) != rollout.template_hash({"a": 2})


def test_a_daemon_on_every_node_once_and_none_where_it_is_kept_off() -> None:
    nodes = {
        one.metadata.name: one
        for one in (node("a"), node("b"), node("c", spec=NodeSpec(taints=[Taint("k", "NoSchedule")])))
    }
    labels = {"hash": "h1"}
    there = [pod("d1", "a", owner="d", labels=labels), pod("d2", "a", owner="d", labels=labels)]
    moves = daemons.moves(pod("d"), nodes, there, "h1", Strategy(), "hash")
    assert moves.create == ["b"]
    assert moves.delete == ["d2"]


def test_a_silent_node_is_tainted_and_sends_pods_away_when_they_no_longer_bear_it() -> None:
    stamp = "2026-01-01T00:00:00Z"
    made = taints.wanted_taints([Taint("theirs", "NoSchedule")], "Unknown", unschedulable=False, now=stamp)
    assert [(one.key, one.effect) for one in made] == [
        ("theirs", "NoSchedule"),
        (taints.UNREACHABLE, "NoSchedule"),
        (taints.UNREACHABLE, "NoExecute"),
    ]
    assert taints.wanted_taints(made, "Unknown", unschedulable=False, now="2027-01-01T00:00:00Z") == made, (
        "a taint keeps its age"
    )
    assert taints.evict_at([], made) == 0.0
    patient = Toleration(taints.UNREACHABLE, "Exists", effect="NoExecute", toleration_seconds=300)
    forever = Toleration(taints.UNREACHABLE, "Exists", effect="NoExecute")
    assert taints.evict_at([patient], made) == pytest.approx(1767225600 + 300)
    assert taints.evict_at([forever], made) is None
    assert taints.wanted_taints(made, "True", unschedulable=False, now=stamp) == [Taint("theirs", "NoSchedule")]
