"""Preflight: each way in which an address plan collides with a site, found, named, with what to do."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from podwire.ipam.preflight import Finding, HostRoute, Site, owner_of, preflight
from podwire.model.cluster import Underlay
from podwire.model.kernel import ROUTE_PROTOCOL

POD, SERVICE = ip_network("10.244.0.0/16"), ip_network("10.96.0.0/12")
UNDERLAY = Underlay("eth0", ip_address("192.168.7.11"), 1500, (ip_network("192.168.7.0/24"),))


def found(
    *routes: HostRoute, pods: str = "10.244.0.0/16", underlay: Underlay = UNDERLAY, **hosts: str
) -> list[Finding]:
    site = Site((underlay,), routes, {name: ip_address(text) for name, text in hosts.items()})
    return preflight([ip_network(pods)], [SERVICE], site)


def route(cidr: str, device: str, protocol: int = 4) -> HostRoute:
    return HostRoute(ip_network(cidr), device, protocol)


def test_a_good_plan_has_no_findings() -> None:
    assert (
        found(
            route("0.0.0.0/0", "eth0"),
            route("192.168.7.0/24", "eth0", 2),
            route("172.17.0.0/16", "docker0", 2),
            route("10.244.1.5/32", "pw0123456789a", ROUTE_PROTOCOL),
            route("10.244.2.0/24", "eth0", ROUTE_PROTOCOL),
            route("10.244.3.0/24", "pwvxlan"),
            route("::/0", "eth0"),
            nameserver="192.168.7.1",
        )
        == []
    )


@pytest.mark.parametrize(
    ("device", "words", "remedy"),
    [
        ("docker0", "docker0 (a Docker bridge)", "daemon.json"),
        ("br-0123456789ab", "br-0123456789ab (a Docker bridge)", "daemon.json"),
        ("cni0", "cni0 (another CNI plugin)", "remove what that plugin left behind"),
        ("flannel.1", "flannel.1 (another CNI plugin)", "remove what that plugin left behind"),
        ("virbr0", "virbr0 (a libvirt bridge)", "choose another range"),
        ("wg0", "wg0 (a VPN)", "choose another range"),
        ("eth7", "eth7", "choose another range"),
    ],
)
def test_a_route_that_takes_pods_packets_names_its_owner(device: str, words: str, remedy: str) -> None:
    (finding,) = found(route("10.244.0.0/16", device))
    assert finding.severity == "error" and remedy in finding.remedy
    assert finding.problem == f"overlaps the route 10.244.0.0/16 on {words}, which takes packets meant for it"


def test_a_shorter_route_of_the_host_is_a_warning() -> None:
    (finding,) = found(route("10.0.0.0/8", "tun0"), route("10.0.0.0/8", "tun0"))[-1:]
    assert str(finding).startswith("warning: cluster.serviceCidrs 10.96.0.0/12 overlaps the route 10.0.0.0/8 on tun0")
    assert "whose destinations pods and nodes lose" in finding.problem


def test_the_nodes_own_subnet() -> None:
    underlay = Underlay("ens3", ip_address("10.244.9.4"), 1500, (ip_network("10.244.8.0/22"),))
    (finding,) = found(route("10.244.8.0/22", "ens3", 2), underlay=underlay)
    assert str(finding) == (
        "error: cluster.podCidrs 10.244.0.0/16 overlaps the nodes' own subnet 10.244.8.0/22 on ens3; "
        "choose a range that the underlay does not use"
    )


def test_a_node_address_without_a_subnet() -> None:
    underlay = Underlay("lo", ip_address("10.244.9.4"), 65536)
    (finding,) = found(underlay=underlay)
    assert "holds this node's address 10.244.9.4 on lo" in finding.problem


def test_a_name_server_within_the_pod_cidr() -> None:
    (finding,) = found(nameserver="10.244.0.2")
    assert "holds the address 10.244.0.2 of the nameserver, which no pod would reach" in finding.problem


def test_the_service_cidr_too() -> None:
    (pods,) = found(pods="10.100.0.0/16")
    assert pods.problem == "overlaps the Service CIDR 10.96.0.0/12"
    (services,) = found(route("10.97.0.0/16", "br-0123456789ab"))
    assert services.subject == "cluster.serviceCidrs 10.96.0.0/12"


@pytest.mark.parametrize(
    ("pods", "problem"),
    [
        ("127.0.0.0/16", "loopback"),
        ("169.254.0.0/16", "link-local, where pods have their gateway"),
        ("239.0.0.0/16", "multicast"),
        ("fe80::/48", "link-local, where pods have their gateway"),
        ("ff05::/56", "multicast"),
    ],
)
def test_special_ranges(pods: str, problem: str) -> None:
    (finding,) = found(pods=pods)
    assert finding.severity == "error" and problem in finding.problem


@pytest.mark.parametrize("pods", ["8.8.0.0/16", "2a00:1450::/56"])
def test_public_ranges_are_a_warning(pods: str) -> None:
    (finding,) = found(pods=pods)
    assert finding.severity == "warning" and "pods cannot reach the Internet hosts that own it" in finding.problem


@pytest.mark.parametrize("pods", ["100.64.0.0/16", "192.168.128.0/17", "172.20.0.0/16", "fd00:244::/56"])
def test_private_and_shared_ranges_are_fine(pods: str) -> None:
    assert found(pods=pods) == []


def test_errors_come_first() -> None:
    severities = [finding.severity for finding in found(route("10.0.0.0/8", "wg0"), nameserver="10.244.0.2")]
    assert severities == sorted(severities) and set(severities) == {"error", "warning"}


@pytest.mark.parametrize("device", ["eth0", "ens5", "bond0", "br0", "lo", "br-lan"])
def test_ordinary_devices_have_no_owner(device: str) -> None:
    assert owner_of(device) == ""
