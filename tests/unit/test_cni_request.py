"""Requests: what is accepted, and which code, field and remedy each mistake gets."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from podwire.cni import codes
from podwire.cni.protocol import RawRequest
from podwire.cni.request import (
    AddRequest,
    CheckRequest,
    DelRequest,
    GcRequest,
    StatusRequest,
    parse,
)
from podwire.cni.result import Result
from podwire.model.attachment import AttachmentKey, PodRef
from podwire.model.errors import CniError
from tests.support.cni import environment, netconf

KEY = AttachmentKey("podwire", "c1", "eth0")


def refusal(env: dict[str, str], stdin: bytes) -> CniError:
    with pytest.raises(CniError) as caught:
        parse(RawRequest(env, stdin))
    return caught.value


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_add_is_read_in_every_version(version: str) -> None:
    request = parse(RawRequest(environment("ADD"), netconf(version)))
    assert request == AddRequest(KEY, "/run/netns/c1", PodRef("default", "web-0", "u-web-0"))


def test_each_verb_gives_its_request() -> None:
    listed = [{"containerID": "c1", "ifname": "eth0"}]
    valid = netconf("1.1.0", valid=listed)
    assert parse(RawRequest(environment("DEL", CNI_NETNS=""), netconf())) == DelRequest(KEY)
    check = parse(RawRequest(environment("CHECK"), netconf(prevResult={"interfaces": None})))
    assert check == CheckRequest(KEY, "/run/netns/c1", Result())
    assert parse(RawRequest({"CNI_COMMAND": "GC"}, valid)) == GcRequest("podwire", frozenset({KEY}))
    assert parse(RawRequest({"CNI_COMMAND": "STATUS"}, netconf("1.1.0"))) == StatusRequest("podwire")


@pytest.mark.parametrize(
    ("extra", "args", "ips", "mac"),
    [
        ({}, "", [], ""),
        ({"runtimeConfig": None, "args": None, "prevResult": None, "ipam": {}}, "", [], ""),
        ({"runtimeConfig": {"ips": ["10.244.1.5/24"]}}, "", ["10.244.1.5"], ""),
        ({"runtimeConfig": {"mac": "02-AA-bb-cc-dd-0e"}}, "MAC=06:00:00:00:00:01", [], "02:aa:bb:cc:dd:0e"),
        ({"args": {"cni": {"ips": ["fd00::5"]}}}, "IP=10.244.1.5, ;", ["fd00::5", "10.244.1.5"], ""),
        ({"runtimeConfig": {"ips": ["10.244.1.5"]}}, "IP=10.244.1.5;MAC=02:aa:bb:cc:dd:0e", ["10.244.1.5"], "02:aa:bb:cc:dd:0e"),
        ({}, "WHAT=ever;IgnoreUnknown=TRUE", [], ""),
    ],
)  # fmt: skip
def test_what_a_pod_may_ask_for(extra: dict[str, Any], args: str, ips: list[str], mac: str) -> None:
    request = parse(RawRequest(environment("ADD", CNI_ARGS=args), netconf(**extra)))
    assert isinstance(request, AddRequest)
    assert list(request.ips) == [ip_address(text) for text in ips]
    assert request.mac == mac


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CNI_COMMAND", "FROB"),
        ("CNI_COMMAND", "add"),
        ("CNI_COMMAND", ""),
        ("CNI_CONTAINERID", ""),
        ("CNI_CONTAINERID", "-c"),
        ("CNI_CONTAINERID", "c/1"),
        ("CNI_CONTAINERID", "c1\n"),
        ("CNI_CONTAINERID", "\udcff"),
        ("CNI_IFNAME", ""),
        ("CNI_IFNAME", "eth0123456789abc"),
        ("CNI_IFNAME", "äöüäöüäö"),
        ("CNI_IFNAME", "."),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "eth 0"),
        ("CNI_IFNAME", "eth\u00a00"),
        ("CNI_IFNAME", "eth/0"),
        ("CNI_IFNAME", "eth:0"),
        ("CNI_IFNAME", "eth%d"),
        ("CNI_IFNAME", "lo"),
        ("CNI_IFNAME", "all"),
        ("CNI_NETNS", ""),
        ("CNI_NETNS", "/run/\udcff"),
        ("CNI_ARGS", "K8S_POD_NAME"),
        ("CNI_ARGS", "=x"),
        ("CNI_ARGS", "A=\x07"),
        ("CNI_ARGS", "UNKNOWN=1"),
        ("CNI_ARGS", "IgnoreUnknown=perhaps"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str) -> None:
    error = refusal(environment("ADD", **{variable: value}), netconf())
    assert error.code == codes.INVALID_ENVIRONMENT
    assert variable in error.message and error.details


@pytest.mark.parametrize(
    ("stdin", "code", "word"),
    [
        (b"", codes.DECODING_FAILURE, "no JSON"),
        (b"{", codes.DECODING_FAILURE, "no JSON"),
        (b"\xff\xfe", codes.DECODING_FAILURE, "no JSON"),
        (b"[" * 100_000, codes.INVALID_CONFIG, "object"),
        (b'{"cniVersion":"1.0.0","name":"n","x":' + b"[" * 100_000, codes.DECODING_FAILURE, "no JSON"),
        (b"[]", codes.INVALID_CONFIG, "object"),
        (b'{"cniVersion": 1}', codes.INVALID_CONFIG, "cniVersion"),
        (b"{}", codes.INCOMPATIBLE_VERSION, "cniVersion"),
        (netconf("0.2.0"), codes.INCOMPATIBLE_VERSION, "0.2.0"),
        (netconf("1.2.0"), codes.INCOMPATIBLE_VERSION, "1.2.0"),
        (netconf("1.0"), codes.INCOMPATIBLE_VERSION, "1.0"),
        (netconf(name=""), codes.INVALID_CONFIG, "name"),
        (netconf(name="../x"), codes.INVALID_CONFIG, "name"),
        (netconf(ipam={"type": "host-local"}), codes.UNSUPPORTED_FIELD, "host-local"),
        (netconf(prevResult=[]), codes.INVALID_CONFIG, "prevResult"),
        (netconf(prevResult={"ips": [{}]}), codes.INVALID_CONFIG, "prevResult"),
        (netconf(runtimeConfig={"ips": "10.1.1.1"}), codes.INVALID_CONFIG, "runtimeConfig"),
        (netconf(runtimeConfig={"ips": ["10.1.1.999"]}), codes.INVALID_CONFIG, "10.1.1.999"),
        (netconf(runtimeConfig={"ips": ["10.1.1.1", "10.1.1.2"]}), codes.INVALID_CONFIG, "10.1.1.2"),
        (netconf(runtimeConfig={"mac": "01:00:00:00:00:01"}), codes.INVALID_CONFIG, "runtimeConfig.mac"),
        (netconf(runtimeConfig={"mac": "00:00:00:00:00:00"}), codes.INVALID_CONFIG, "runtimeConfig.mac"),
        (netconf(runtimeConfig={"mac": "wrong"}), codes.INVALID_CONFIG, "runtimeConfig.mac"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_is_explained(stdin: bytes, code: int, word: str) -> None:
    error = refusal(environment("ADD"), stdin)
    assert error.code == code
    assert word in error.message and error.details


def test_del_ignores_what_it_does_not_need() -> None:
    broken = netconf(prevResult="?", runtimeConfig=1, ipam={"type": "x"})
    assert parse(RawRequest(environment("DEL", CNI_ARGS="?", CNI_NETNS=""), broken)) == DelRequest(KEY)


@pytest.mark.parametrize(
    ("command", "version"), [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0"), ("STATUS", "0.4.0")]
)
def test_a_verb_that_the_version_does_not_have(command: str, version: str) -> None:
    error = refusal(environment(command), netconf(version, prevResult={}, valid=[]))
    assert error.code == codes.INCOMPATIBLE_VERSION
    assert command in error.message


def test_check_needs_the_result_of_add() -> None:
    assert "prevResult" in refusal(environment("CHECK"), netconf()).message


def test_gc_without_a_list_does_not_mean_that_nothing_is_valid() -> None:
    """cnitool leaves the key out; Go's encoder writes null for an empty list."""
    assert parse(RawRequest(environment("GC"), netconf("1.1.0"))) == GcRequest("podwire", None)
    empty = parse(RawRequest(environment("GC"), netconf("1.1.0", valid=None)))
    assert empty == GcRequest("podwire", frozenset())


def test_a_pod_is_named_by_namespace_and_name() -> None:
    request = parse(RawRequest(environment("ADD", CNI_ARGS="K8S_POD_NAME=x"), netconf()))
    assert isinstance(request, AddRequest) and request.pod is None
