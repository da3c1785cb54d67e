"""Results and errors as JSON, in every cniVersion, alone and in a chain."""

from __future__ import annotations

import json
from ipaddress import ip_interface
from typing import Any

import pytest

from podwire.cni import codes, result
from podwire.model.attachment import Attachment, AttachmentKey, PodRef
from podwire.model.errors import CniError
from podwire.plan.wiring import pod_wiring

ATTACHMENT = Attachment(
    key=AttachmentKey("podwire", "c1", "eth0"),
    netns="/run/netns/c1",
    netns_inode=7,
    addresses=(ip_interface("10.244.1.5/32"), ip_interface("fd00:10:244::5/128")),
    mac="02:00:00:00:00:01",
    host_mac="02:00:00:00:00:02",
    mtu=1450,
    created_at=0.0,
    pod=PodRef("default", "web-0"),
)
HOST = ATTACHMENT.key.host_ifname
OURS = result.describe(ATTACHMENT, pod_wiring(ATTACHMENT))


def encoded(which: result.Result, version: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result.encode(which, version))
    assert document.pop("cniVersion") == version
    return document


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0"])
def test_before_1_0_0_addresses_have_a_version(version: str) -> None:
    document = encoded(OURS, version)
    assert document["ips"] == [
        {"version": "4", "address": "10.244.1.5/32", "gateway": "169.254.1.1", "interface": 1},
        {"version": "6", "address": "fd00:10:244::5/128", "gateway": "fe80::1", "interface": 1},
    ]
    assert document["interfaces"] == [
        {"name": HOST, "mac": "02:00:00:00:00:02"},
        {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/c1"},
    ]
    assert document["dns"] == {}


def test_1_0_0_has_neither_versions_nor_mtu() -> None:
    document = encoded(OURS, "1.0.0")
    assert document["ips"][0] == {"address": "10.244.1.5/32", "gateway": "169.254.1.1", "interface": 1}
    assert "mtu" not in document["interfaces"][1] and "dns" not in document
    assert {"dst": "169.254.1.1/32"} in document["routes"]
    assert {"dst": "0.0.0.0/0", "gw": "169.254.1.1"} in document["routes"]
    assert {"dst": "::/0", "gw": "fe80::1"} in document["routes"]


def test_1_1_0_tells_mtu_and_scope() -> None:
    document = encoded(OURS, "1.1.0")
    assert [item["mtu"] for item in document["interfaces"]] == [1450, 1450]
    assert {"dst": "169.254.1.1/32", "scope": 253} in document["routes"]


PREVIOUS: dict[str, Any] = {
    "0.3.1": {
        "cniVersion": "0.3.1",
        "interfaces": [{"name": "cni0"}, {"name": "net1", "mac": "0a:00:00:00:00:01", "sandbox": "/run/netns/c1"}],
        "ips": [{"version": "4", "address": "192.0.2.5/24", "gateway": "192.0.2.1", "interface": 1}],
        "routes": [{"dst": "198.51.100.0/24"}],
        "dns": {"nameservers": ["192.0.2.53"], "search": ["example.org"]},
    },
    "1.1.0": {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "net1", "mtu": 9000, "socketPath": "/s", "pciID": "0000:00:1f.6"}],
        "ips": [{"address": "192.0.2.5/24"}],
        "routes": [{"dst": "198.51.100.0/24", "mtu": 1400, "advmss": 1360, "priority": 10, "table": 100, "scope": 0}],
    },
}
PREVIOUS["0.4.0"], PREVIOUS["1.0.0"] = PREVIOUS["0.3.1"], PREVIOUS["0.3.1"]


@pytest.mark.parametrize("given", sorted(PREVIOUS))
@pytest.mark.parametrize("wanted", result.VERSIONS)
def test_a_chain_keeps_what_came_before(given: str, wanted: str) -> None:
    previous = result.parse(json.dumps(PREVIOUS[given]).encode())
    document = encoded(result.merge(previous, OURS), wanted)
    before = len(previous.interfaces)
    assert [item["name"] for item in document["interfaces"]][before:] == [HOST, "eth0"]
    assert document["ips"][0]["address"] == "192.0.2.5/24"
    assert document["ips"][0].get("interface") == (1 if given != "1.1.0" else None)
    assert document["ips"][1]["interface"] == before + 1
    assert document["routes"][0]["dst"] == "198.51.100.0/24"
    assert ("version" in document["ips"][0]) == (wanted in ("0.3.1", "0.4.0"))
    if given != "1.1.0":
        assert document["dns"] == PREVIOUS[given]["dns"]
    if given == wanted == "1.1.0":
        assert document["interfaces"][0] == PREVIOUS[given]["interfaces"][0]
        assert document["routes"][0] == PREVIOUS[given]["routes"][0]


@pytest.mark.parametrize("version", result.VERSIONS)
def test_a_result_reads_back_as_it_was_written(version: str) -> None:
    again = result.parse(result.encode(OURS, version))
    assert result.encode(again, version) == result.encode(OURS, version)


def test_nothing_is_absent_from_a_result_of_ours_whatever_the_version() -> None:
    for version in result.VERSIONS:
        assert result.absent_from(result.parse(result.encode(OURS, version)), OURS) == []


def test_what_is_absent_is_told() -> None:
    changed = json.loads(result.encode(OURS, "1.0.0"))
    changed["interfaces"][1]["mac"] = "02:00:00:00:00:99"
    del changed["interfaces"][0], changed["ips"][0], changed["routes"][0]
    assert result.absent_from(result.parse(json.dumps(changed).encode()), OURS) == [
        f"prevResult does not list interface {HOST}",
        "eth0 was made with MAC 02:00:00:00:00:01, prevResult says 02:00:00:00:00:99",
        "prevResult does not list address 10.244.1.5/32",
    ]


def test_an_error_is_json_whatever_it_says() -> None:
    body = result.encode_error(CniError(codes.INVALID_ENVIRONMENT, 'CNI_NETNS: "\udcff"', "x\ny"), "1.0.0")
    assert json.loads(body) == {
        "cniVersion": "1.0.0",
        "code": 4,
        "msg": 'CNI_NETNS: "\\udcff"',
        "details": "x\ny",
    }
