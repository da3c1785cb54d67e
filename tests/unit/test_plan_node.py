"""A whole node's plan: what each backend wants, what is refused and why, masquerade, and routes that fail closed."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_interface, ip_network

import msgspec
import pytest

from podwire.model.addresses import stable_mac
from podwire.model.cluster import AttachmentChanged, Node, NodeChanged, Snapshot, Underlay
from podwire.model.config import Config, MasqueradeConfig
from podwire.model.errors import InputError
from podwire.model.kernel import (
    Address,
    Fdb,
    Link,
    Neighbour,
    NftElement,
    Route,
    Sysctl,
    Value,
    Vxlan,
)
from podwire.plan import Plan, State, plan, step
from podwire.plan.claims import Claims
from podwire.plan.mtu import path_mtu, pod_mtu
from podwire.plan.node import peer
from podwire.plan.result import PeerPlan
from podwire.plan.routes import BACKENDS
from tests.support.snapshots import ME, attachment, config, node, snapshot, underlay, underlay6

DUAL = msgspec.convert({"podCidrs": ["10.244.0.0/16", "fd00::/48"]}, type(config().cluster))


def values(made: Plan) -> set[Value]:
    return {element.value for element in made.intent}


def elements(made: Plan, name: str) -> set[str]:
    return {value.element for value in values(made) if isinstance(value, NftElement) and value.set == name}


def planned(*nodes: Node, backend: str = "vxlan", **options: object) -> Plan:
    return plan(snapshot(*nodes), ME, config(backend, **options))


class TestVxlan:
    def test_device(self) -> None:
        found = values(planned(node(1)))
        assert (
            Link(
                "pwvxlan",
                "vxlan",
                1450,
                stable_mac("vtep", "node1"),
                Vxlan(4096, 4789, ip_address("10.89.0.11"), "eth0"),
            )
            in found
        )
        assert Address("pwvxlan", ip_interface("10.244.1.0/32")) in found
        assert Sysctl("net/ipv4/ip_forward", "1") in found

    def test_a_peer_is_a_route_a_neighbour_and_an_fdb_entry(self) -> None:
        alone, both = planned(node(1)), planned(node(1), node(2))
        mac = stable_mac("vtep", "node2")
        assert values(both) - values(alone) == {
            Route(dst=ip_network("10.244.2.0/24"), dev="pwvxlan", via=ip_address("10.244.2.0"), onlink=True),
            Neighbour("pwvxlan", ip_address("10.244.2.0"), mac),
            Fdb("pwvxlan", mac, ip_address("10.89.0.12")),
        }
        assert values(alone) <= values(both)

    def test_both_families_in_one_tunnel(self) -> None:
        peer = node(2, cidrs=("10.244.2.0/24", "fd00:0:0:2::/64"))
        me = node(1, cidrs=("10.244.1.0/24", "fd00:0:0:1::/64"))
        found = values(plan(snapshot(me, peer), ME, config(cluster=DUAL)))
        assert Address("pwvxlan", ip_interface("fd00:0:0:1::/128")) in found
        assert (
            Route(dst=ip_network("fd00:0:0:2::/64"), dev="pwvxlan", via=ip_address("fd00:0:0:2::"), onlink=True)
            in found
        )
        assert len([value for value in found if isinstance(value, Fdb)]) == 1
        assert Sysctl("net/ipv6/conf/all/forwarding", "1") in found

    def test_over_an_ipv6_underlay(self) -> None:
        peer = node(2, addresses=("fd89::12",))
        made = plan(snapshot(node(1), peer, underlays=(underlay6(),)), ME, config())
        link = next(value for value in values(made) if isinstance(value, Link))
        assert link.mtu == 1430 and link.vxlan is not None and link.vxlan.local == ip_address("fd89::11")

    def test_a_peer_without_an_address_of_the_tunnels_family_is_refused(self) -> None:
        made = planned(node(1), node(2, addresses=("fd89::12",)))
        (refusal,) = made.refusals
        assert "node2" in str(refusal) and "IPv4" in str(refusal) and "fd89::12" in str(refusal)
        assert not any(isinstance(value, Fdb) for value in values(made))


class TestHostGw:
    def test_a_peer_is_one_route(self) -> None:
        alone, both = planned(node(1), backend="host-gw"), planned(node(1), node(2), backend="host-gw")
        assert values(both) - values(alone) == {
            Route(dst=ip_network("10.244.2.0/24"), dev="eth0", via=ip_address("10.89.0.12")),
            NftElement("inet", "podwire", "nodes4", "10.89.0.12"),
        }
        assert not any(isinstance(value, Link) for value in values(both))

    def test_a_peer_behind_a_router_is_refused_by_name(self) -> None:
        made = planned(node(1), node(2, addresses=("10.90.0.12",)), backend="host-gw")
        (refusal,) = made.refusals
        for said in ("node2", "10.90.0.12", "10.89.0.0/24", "eth0", "backend.type vxlan"):
            assert said in str(refusal)
        assert not [value for value in values(made) if isinstance(value, Route) and value.via]
        assert not elements(made, "nodes4"), "a router in between may drop a pod's address"

    def test_a_dual_stack_peer_can_be_half_refused(self) -> None:
        me = node(1, cidrs=("10.244.1.0/24", "fd00:0:0:1::/64"), addresses=("10.89.0.11", "fd89::11"))
        peer = node(2, cidrs=("10.244.2.0/24", "fd00:0:0:2::/64"))
        made = plan(snapshot(me, peer, underlays=(underlay(), underlay6())), ME, config("host-gw", cluster=DUAL))
        assert [str(value.dst) for value in values(made) if isinstance(value, Route) and value.via] == ["10.244.2.0/24"]
        assert "IPv6" in str(made.refusals[0])


class TestClashes:
    @pytest.mark.parametrize("backend", sorted(BACKENDS))
    @pytest.mark.parametrize("other", ["10.244.2.0/24", "10.244.2.128/25", "10.244.2.0/23"])
    def test_overlapping_pod_cidrs_refuse_both_and_name_both(self, backend: str, other: str) -> None:
        made = planned(node(1), node(2), node(3, cidrs=(other,)), backend=backend)
        assert {refusal.about.name for refusal in made.refusals} == {"node2", "node3"}
        assert all("10.244.2.0/24" in str(refusal) and other in str(refusal) for refusal in made.refusals)
        assert not [value for value in values(made) if isinstance(value, Route) and value.via]

    def test_a_peer_that_claims_our_pod_cidr_is_refused_here(self) -> None:
        made = planned(node(1), node(2, cidrs=("10.244.1.0/24",)))
        assert "10.244.1.0/24 of node node1" in str(made.refusals[0])
        assert Address("pwvxlan", ip_interface("10.244.1.0/32")) in values(made)

    def test_one_address_on_two_nodes(self) -> None:
        made = planned(node(1), node(2), node(3, addresses=("10.89.0.12",)))
        assert {refusal.about.name for refusal in made.refusals} == {"node2", "node3"}
        assert all("10.89.0.12" in refusal.message for refusal in made.refusals)

    def test_a_peer_whose_pod_cidr_holds_the_clusters(self) -> None:
        made = planned(node(1), node(2, cidrs=("10.0.0.0/8",)))
        assert {refusal.about.name for refusal in made.refusals} == {"node2"}
        assert elements(made, "cluster4") == {"10.244.0.0/16", "224.0.0.0/4"}, "nft takes no overlapping intervals"

    def test_two_attachments_with_one_address_do_not_stop_the_node(self) -> None:
        one, two = attachment("a", "10.244.1.5/32"), attachment("b", "10.244.1.5/32")
        made = plan(snapshot(node(1), attachments=(two, one)), ME, config())
        (route,) = [value for value in values(made) if isinstance(value, Route) and value.dst.prefixlen == 32]
        assert route.dev == one.key.host_ifname
        (warning,) = made.warnings
        assert "default/b" in str(warning) and "default/a" in str(warning) and "10.244.1.5" in str(warning)

    def test_the_loser_of_an_address_gets_it_when_the_winner_goes(self) -> None:
        one, two = attachment("a", "10.244.1.5/32"), attachment("b", "10.244.1.5/32")
        state = State(ME, config(), snapshot(node(1), attachments=(one, two)))
        state, delta = step(state, [AttachmentChanged(one.key, None)])
        assert [element.value.dev for element in delta.put if isinstance(element.value, Route)] == [two.key.host_ifname]
        assert not [value for value in delta.drop if isinstance(value, Route)], "one replace, no gap"
        assert not state.warnings


class TestIncomplete:
    def test_own_node_missing(self) -> None:
        made = plan(snapshot(node(2), attachments=(attachment("a", "10.244.1.5/32"),)), ME, config())
        assert "node1: is not in the cluster's list" in str(made.warnings[0])
        assert {value.kind for value in values(made)} == {"route", "neighbour"}, "its pods keep their network"

    def test_own_node_without_pod_cidr(self) -> None:
        made = planned(node(1, cidrs=()), node(2))
        assert "no pod CIDR" in str(made.warnings[0])
        assert any(isinstance(value, Link) for value in values(made))
        assert not any(isinstance(value, Address) for value in values(made))

    @pytest.mark.parametrize("backend", sorted(BACKENDS))
    def test_peer_without_pod_cidr_or_address(self, backend: str) -> None:
        made = planned(node(1), node(2, cidrs=()), node(3, addresses=()), backend=backend)
        assert [str(refusal).split(";")[0] for refusal in made.refusals] == [
            "Node node2: has no pod CIDR yet",
            "Node node3: has no address",
        ]

    @pytest.mark.parametrize("backend", sorted(BACKENDS))
    def test_no_underlay(self, backend: str) -> None:
        made = plan(snapshot(node(1), node(2), underlays=()), ME, config(backend))
        assert "10.89.0.11" in str(made.warnings[0])
        assert not any(isinstance(value, Fdb | Link) for value in values(made))

    def test_empty(self) -> None:
        made = plan(Snapshot({}), ME, config())
        assert len(made.intent) == 0 and len(made.warnings) == 1

    def test_an_attachment_that_add_is_still_making_is_not_planned(self) -> None:
        made = plan(snapshot(node(1), attachments=(attachment("a", "10.244.1.5/32", state="allocated"),)), ME, config())
        assert values(made) == values(planned(node(1)))


class TestFailClosed:
    def test_the_cluster_and_our_own_cidr_are_unreachable_where_no_route_is(self) -> None:
        found = values(planned(node(1, cidrs=("172.30.1.0/24",)), node(2)))
        for cidr in ("10.244.0.0/16", "172.30.1.0/24"):
            assert Route(dst=ip_network(cidr), type="unreachable", metric=9999) in found

    def test_a_peer_outside_the_clusters_cidrs_fails_closed_too_and_is_not_masqueraded(self) -> None:
        made = planned(node(1), node(2, cidrs=("172.30.2.0/24",)))
        assert Route(dst=ip_network("172.30.2.0/24"), type="unreachable", metric=9999) in values(made)
        assert "172.30.2.0/24" in elements(made, "cluster4")
        assert not made.refusals


class TestMasquerade:
    def test_sets(self) -> None:
        settings = MasqueradeConfig(non_masquerade_cidrs=("192.0.2.0/24", "10.244.7.0/24"))
        made = planned(node(1), node(2), masquerade=settings)
        assert elements(made, "local_pods4") == {"10.244.1.0/24"}
        assert elements(made, "cluster4") == {"10.244.0.0/16", "192.0.2.0/24", "224.0.0.0/4"}
        assert not elements(made, "nodes4"), "over vxlan a pod meets a node under its own node's address"

    def test_off(self) -> None:
        made = planned(node(1), node(2), backend="host-gw", masquerade=MasqueradeConfig(enabled=False))
        assert not [value for value in values(made) if value.kind.startswith("nft")]

    def test_every_element_names_its_object(self) -> None:
        made = planned(node(1), node(2), backend="host-gw")
        causes = {
            element.value.element: str(element.cause)
            for element in made.intent
            if isinstance(element.value, NftElement)
        }
        assert causes["10.89.0.12"] == "Node node2"


class TestMtu:
    @pytest.mark.parametrize(
        ("backend", "lay", "expected"),
        [
            ("vxlan", underlay(), 1450),
            ("vxlan", underlay6(), 1430),
            ("vxlan", underlay(9000), 8950),
            ("host-gw", underlay(), 1500),
        ],
    )
    def test_overhead(self, backend: str, lay: object, expected: int) -> None:
        assert pod_mtu(config(backend), (lay,)) == expected  # type: ignore[arg-type]

    def test_explicit_is_honoured_and_warned_about_when_too_large(self) -> None:
        assert pod_mtu(config(mtu=1400), ()) == 1400
        assert not planned(node(1), mtu=1450).warnings
        (warning,) = planned(node(1), mtu=1451).warnings
        assert "1451" in str(warning) and "1450" in str(warning)

    def test_no_underlay_and_too_narrow_an_underlay(self) -> None:
        with pytest.raises(InputError, match=r"status\.addresses"):
            path_mtu(config(), ())
        with pytest.raises(InputError, match=r"eth0.*leaves 550.*626"):
            path_mtu(config(), (underlay(600),))
        assert any(
            "leaves 550" in str(w) for w in plan(snapshot(node(1), underlays=(underlay(600),)), ME, config()).warnings
        )


class TestIncremental:
    def test_one_peer_more_touches_its_entries_alone(self) -> None:
        state = State(ME, config(), snapshot(*map(node, range(1, 200))))
        state, delta = step(state, [NodeChanged("node200", node(200))])
        assert len(delta.put) == 3 and not delta.drop
        assert {element.cause.name for element in delta.put} == {"node200"}

    def test_a_renumbered_peer_is_replaced_where_it_can_be(self) -> None:
        state = State(ME, config(), snapshot(node(1), node(2)))
        state, delta = step(state, [NodeChanged("node2", node(2, addresses=("10.89.0.99",)))])
        assert [element.value for element in delta.put] == [
            Fdb("pwvxlan", stable_mac("vtep", "node2"), ip_address("10.89.0.99"))
        ]
        assert not delta.drop

    def test_a_change_that_changes_nothing_is_no_delta(self) -> None:
        state = State(ME, config(), snapshot(node(1), node(2)))
        state, delta = step(state, [NodeChanged("node2", msgspec.structs.replace(node(2), uid="another"))])
        assert not delta

    @pytest.mark.parametrize("clash", [False, True])
    def test_the_work_for_one_peer_does_not_grow_with_the_peers(
        self, clash: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Counted in parts made anew, not in seconds."""
        made: list[str] = []

        def counted(c: Config, me: Node, other: Node, lays: Sequence[Underlay], claims: Claims) -> PeerPlan:
            made.append(other.name)
            return peer(c, me, other, lays, claims)

        monkeypatch.setattr("podwire.plan.state.peer", counted)
        counts = []
        for size in (20, 200):
            state = State(ME, config(), snapshot(*map(node, range(1, size))))
            made.clear()
            cidr = ("10.244.2.0/24",) if clash else ("10.244.240.0/24",)
            step(state, [NodeChanged("node240", node(240, cidrs=cidr))])
            counts.append(len(made))
        assert counts == ([2, 2] if clash else [1, 1])


def test_config_default_is_planned_without_a_warning() -> None:
    assert planned(node(1), node(2)).warnings == ()
    assert plan(snapshot(node(1)), ME, Config()).refusals == ()
