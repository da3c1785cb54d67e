"""Applying diff(intent, observed) to observed gives the intent, and then there is nothing left to do."""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.model.intent import Cause, Intent, Wanted
from podwire.model.kernel import Address, Fdb, Key, Link, Neighbour, NftElement, NftTable, Route, Sysctl, Value
from podwire.reconcile.delta import applied, diff

FULL = os.environ.get("PODWIRE_TEST_FULL") == "1"
DEVICES = st.sampled_from(("pwvxlan", "pwa", "eth0"))
ADDRESSES = st.sampled_from(("10.244.1.5", "10.244.2.0", "fd00::5")).map(ip_address)
NETWORKS = st.sampled_from(("10.244.1.0/24", "10.244.2.0/24", "fd00::/64")).map(ip_network)
MACS = st.sampled_from(("02:00:00:00:00:01", "02:00:00:00:00:02"))
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.builds(Sysctl, st.sampled_from(("net/ipv4/ip_forward", "net/ipv4/conf/pwa/rp_filter")), st.sampled_from("012")),
    st.builds(Link, DEVICES, st.just("vxlan"), st.sampled_from((1450, 1430)), MACS),
    st.builds(Address, DEVICES, st.just(ip_interface("10.244.1.0/32"))),
    st.builds(Neighbour, DEVICES, ADDRESSES, MACS),
    st.builds(Fdb, DEVICES, MACS, ADDRESSES),
    st.builds(Route, dst=NETWORKS, dev=DEVICES, via=st.none() | ADDRESSES, metric=st.sampled_from((0, 9999))),
    st.builds(NftTable, st.just("inet"), st.just("podwire"), st.sampled_from(("set a {}", "set b {}"))),
    st.builds(NftElement, st.just("inet"), st.just("podwire"), st.just("a"), st.sampled_from(("10.0.0.1", "10.0.0.2"))),
)
STATES = st.lists(VALUES, max_size=12).map(lambda values: {value.key: value for value in values})
counts = settings(max_examples=5000 if FULL else 300, deadline=None, derandomize=not FULL)


def intended(values: dict[Key, Value]) -> Intent:
    return Intent(Wanted(value, Cause("Config", "test")) for value in values.values())


@counts
@given(STATES, STATES)
def test_it_leads_there_and_stays(wanted: dict[Key, Value], observed: dict[Key, Value]) -> None:
    intent = intended(wanted)
    delta = diff(intent, observed)
    after = applied(delta, observed)
    sysctls = {key: value for key, value in observed.items() if value.kind == "sysctl"}
    assert after == sysctls | wanted
    assert not diff(intent, after)
    keys = [element.key for element in delta.put] + [value.key for value in delta.drop]
    assert len(keys) == len(set(keys)), "no key stands twice"
    assert all(observed.get(element.key) != element.value for element in delta.put)


@counts
@given(STATES, STATES, st.sets(DEVICES))
def test_what_is_kept_stays_as_it_is(wanted: dict[Key, Value], observed: dict[Key, Value], kept: set[str]) -> None:
    def keep(value: Value) -> bool:
        return isinstance(value, Neighbour) and value.dev in kept

    delta = diff(intended(wanted), observed, keep=keep)
    after = applied(delta, observed)
    assert {k: v for k, v in after.items() if keep(v)} == {k: v for k, v in observed.items() if keep(v)}
    others = {k: v for k, v in after.items() if not keep(v) and v.kind != "sysctl"}
    assert others == {k: v for k, v in wanted.items() if not keep(v) and v.kind != "sysctl"}
