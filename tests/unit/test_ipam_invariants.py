"""The invariant: each disagreement found and named, and nothing called safe to free on one witness alone."""

from __future__ import annotations

import itertools
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest

from podwire.ipam.invariants import GRACE, Violation, World, check, proofs_of_death, safe_to_free
from podwire.model.attachment import Attachment, PodRef
from podwire.model.cluster import Pod
from podwire.model.kernel import Route
from tests.support.attachments import attachment

NOW = 5000.0


def pod_of(entry: Attachment, **changes: Any) -> Pod:
    assert entry.pod is not None
    pod = Pod(entry.pod.namespace, entry.pod.name, entry.pod.uid, "node-1", entry.ips)
    return msgspec.structs.replace(pod, **changes)


def routes_of(*entries: Attachment) -> list[Route]:
    return [Route(iface.network, entry.key.host_ifname) for entry in entries for iface in entry.addresses]


def world(*entries: Attachment, **changes: Any) -> World:
    """A world in which all witnesses agree on *entries*."""
    agreed = World(
        NOW,
        [pod_of(entry) for entry in entries if entry.pod],
        routes_of(*entries),
        [entry.key.host_ifname for entry in entries],
        {entry.key: True for entry in entries},
        [entry.key for entry in entries],
        "podwire",
    )
    return msgspec.structs.replace(agreed, **changes)


def kinds(violations: list[Violation]) -> list[str]:
    return [violation.kind for violation in violations]


ONE, TWO = attachment(5), attachment(6, "10.244.1.6/32", "fd00::6/128")
BOTH = {ONE.key: ONE, TWO.key: TWO}


def test_agreement_is_silent() -> None:
    assert check(BOTH, world(ONE, TWO)) == []


def test_witnesses_not_asked_say_nothing() -> None:
    assert check(BOTH, World(NOW)) == []


def test_a_dead_pod_is_found_by_every_witness_and_safe_to_free() -> None:
    gone = world(TWO, namespaces={ONE.key: False, TWO.key: True})
    violations = check(BOTH, gone)
    assert kinds(violations) == ["no-pod", "no-namespace", "not-in-runtime", "no-link", "no-route"]
    for violation in violations:
        assert violation.key == ONE.key and violation.address == ip_address("10.244.1.5")
        assert violation.proofs == ("pod", "namespace", "runtime") and violation.safe_to_free
    assert str(violations[1]) == (
        "10.244.1.5: is allocated to default/pod-5, whose namespace /run/netns/cni-5 is gone; safe to free"
    )


@pytest.mark.parametrize("proofs", list(itertools.product([False, True], repeat=3)))
def test_two_independent_proofs_are_needed(proofs: tuple[bool, bool, bool]) -> None:
    pod, namespace, runtime = proofs
    said = world(
        ONE,
        pods=[] if pod else [pod_of(ONE)],
        namespaces={ONE.key: not namespace},
        runtime=[] if runtime else [ONE.key],
        links=[],
        routes=[],
    )
    assert safe_to_free(ONE, said) == (sum(proofs) >= 2), "missing link and route prove nothing"
    assert all(violation.safe_to_free == (sum(proofs) >= 2) for violation in check({ONE.key: ONE}, said))


def test_a_young_attachment_is_not_judged_by_the_api_server() -> None:
    young = msgspec.structs.replace(ONE, created_at=NOW - GRACE + 1)
    assert proofs_of_death(young, world(pods=[], runtime=None)) == ()
    assert proofs_of_death(ONE, world(pods=[], runtime=None)) == ("pod",)


@pytest.mark.parametrize(
    ("pod", "dead"),
    [
        (pod_of(ONE), False),
        (pod_of(ONE, uid=""), False),
        (pod_of(ONE, ips=()), False),
        (pod_of(ONE, uid="another"), True),
        (pod_of(ONE, live=False), True),
        (pod_of(ONE, namespace="other"), True),
    ],
)
def test_a_namesake_is_another_pod(pod: Pod, dead: bool) -> None:
    assert ("pod" in proofs_of_death(ONE, world(ONE, pods=[pod]))) == dead


def test_an_attachment_without_a_pod_has_no_proof_by_the_api_server() -> None:
    anonymous = attachment(9, pod=False)
    assert proofs_of_death(anonymous, world(runtime=None)) == ()


def test_the_runtime_speaks_for_its_own_network_only() -> None:
    other = attachment(9, network="storage")
    assert proofs_of_death(other, world(other, runtime=[])) == ()


def test_duplicate_allocation() -> None:
    clone = attachment(7, "10.244.1.5/32")
    (violation,) = check({ONE.key: ONE, clone.key: clone}, World(NOW))
    assert violation.kind == "duplicate-allocation" and not violation.safe_to_free
    assert "default/pod-5 and default/pod-7" in violation.detail


def test_duplicate_address_in_the_cluster() -> None:
    pods = [pod_of(ONE), pod_of(TWO, ips=(ONE.ips[0],)), pod_of(ONE, name="host", host_network=True)]
    violations = check(BOTH, world(ONE, TWO, pods=pods))
    assert kinds(violations) == ["pod-address-differs", "duplicate-pod-address"]
    assert "default/pod-5 and default/pod-6" in violations[1].detail


def test_pod_without_allocation() -> None:
    (violation,) = check({ONE.key: ONE}, world(ONE, pods=[pod_of(ONE), pod_of(TWO)]))
    assert (violation.kind, violation.subject) == ("pod-without-allocation", "default/pod-6")


def test_pods_that_need_no_allocation() -> None:
    pods = [pod_of(ONE), pod_of(TWO, ips=()), pod_of(TWO, host_network=True), pod_of(TWO, live=False)]
    assert check({ONE.key: ONE}, world(ONE, pods=pods)) == []


def test_a_pod_with_two_attachments_is_whole() -> None:
    second = msgspec.structs.replace(attachment(8), pod=ONE.pod)
    said = world(ONE, second, pods=[pod_of(ONE, ips=ONE.ips + second.ips)])
    assert check({ONE.key: ONE, second.key: second}, said) == []


def test_one_missing_route_of_a_dual_stack_pod() -> None:
    routes = [route for route in routes_of(ONE, TWO) if route.dst.version == 4]
    (violation,) = check(BOTH, world(ONE, TWO, routes=routes))
    assert (violation.kind, violation.address) == ("no-route", ip_address("fd00::6"))


def test_a_route_to_the_wrong_device() -> None:
    wrong = [*routes_of(TWO), msgspec.structs.replace(routes_of(ONE)[0], dev="pwother")]
    (violation,) = check(BOTH, world(ONE, TWO, routes=wrong))
    assert violation.detail.endswith(f"on {ONE.key.host_ifname}, and its route leads to pwother")


def test_an_unfinished_attachment_has_no_wiring_yet() -> None:
    unfinished = attachment(5, state="allocated")
    assert check({unfinished.key: unfinished}, world(unfinished, routes=[], links=[])) == []


def test_strays_in_the_kernel_are_named_and_never_safe() -> None:
    stray = attachment(9)
    ours = [
        *routes_of(ONE, TWO, stray),
        Route(ip_network("10.244.2.0/24"), "pwvxlan", via=ip_address("10.244.2.0")),
        Route(ip_network("10.244.1.0/24"), type="unreachable"),
        Route(ip_network("10.244.3.9/32"), "eth0", via=ip_address("192.168.0.3")),
    ]
    links = [entry.key.host_ifname for entry in (ONE, TWO, stray)]
    violations = check(BOTH, world(ONE, TWO, routes=ours, links=links))
    assert kinds(violations) == ["route-without-allocation", "link-without-allocation"]
    assert violations[0].address == stray.ips[0] and violations[1].subject == stray.key.host_ifname
    assert not any(violation.safe_to_free for violation in violations)


def test_the_reference_to_a_pod_may_lack_its_uid() -> None:
    entry = msgspec.structs.replace(ONE, pod=PodRef("default", "pod-5"))
    assert check({entry.key: entry}, world(ONE)) == []
