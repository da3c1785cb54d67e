"""The dispatcher: always an answer, always JSON, and the code that the failure has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from podwire.cni import codes, result
from podwire.cni.protocol import RawRequest
from podwire.cni.verbs import Verbs
from podwire.model.errors import (
    AddressInUse,
    CniError,
    InputError,
    KernelError,
    NoSuchNamespace,
    NotInPool,
    PodwireError,
    PoolExhausted,
    StoreError,
)
from tests.support.cni import environment, fake_node, netconf


@pytest.mark.parametrize("version", result.VERSIONS)
async def test_a_life_in_every_version(version: str) -> None:
    async with fake_node() as node:
        added = await node.call("ADD", stdin=netconf(version))
        assert added.code == added.status == 0
        previous = json.loads(added.body)
        assert previous["cniVersion"] == version
        repeated = await node.call("ADD", stdin=netconf(version))
        assert repeated.body == added.body
        if version != "0.3.1":
            assert await node.call("CHECK", stdin=netconf(version, prevResult=previous)) == added.__class__()
        deleted = await node.call("DEL", stdin=netconf(version, prevResult=previous))
        assert (deleted.code, deleted.body) == (0, b"")
        assert (await node.call("DEL", stdin=netconf(version))).code == 0
        await node.settled()
        assert node.problems() == []


async def test_status_and_gc_print_nothing() -> None:
    async with fake_node() as node:
        assert (await node.call("STATUS")).body == b""
        assert (await node.call("GC", stdin=netconf("1.1.0", valid=[]))).body == b""


async def test_a_chained_add_passes_on_what_came_before() -> None:
    async with fake_node() as node:
        previous = {"interfaces": [{"name": "x0"}], "ips": [{"address": "192.0.2.1/24", "interface": 0}]}
        answer = json.loads((await node.call("ADD", stdin=netconf(prevResult=previous))).body)
        assert [item["name"] for item in answer["interfaces"]][0::2] == ["x0", "eth0"]
        assert [ip["interface"] for ip in answer["ips"]] == [0, 2]


async def test_the_sandbox_of_a_repeated_add_is_the_path_that_was_given() -> None:
    async with fake_node() as node:
        await node.call("ADD", CNI_NETNS="/run/netns/one")
        answer = json.loads((await node.call("ADD", CNI_NETNS="/run/netns/two")).body)
        assert answer["interfaces"][1]["sandbox"] == "/run/netns/two"


async def test_an_error_is_in_the_version_that_was_asked_in() -> None:
    async with fake_node() as node:
        answer = json.loads((await node.call("ADD", stdin=netconf("0.4.0"), CNI_IFNAME="a/b")).body)
        assert answer["cniVersion"] == "0.4.0" and answer["code"] == codes.INVALID_ENVIRONMENT
        answer = json.loads((await node.call("ADD", stdin=b"?")).body)
        assert answer["cniVersion"] == result.NEWEST and answer["code"] == codes.DECODING_FAILURE


async def test_a_bug_of_ours_is_no_traceback_for_the_runtime(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with fake_node() as node:

        async def broken(*_: Any) -> None:
            raise RuntimeError("secret details")

        monkeypatch.setattr(node.attachments, "add", broken)
        answer = await node.call("ADD")
        assert answer.code == codes.INTERNAL and answer.status == 1
        assert b"secret" not in answer.body and b"RuntimeError" in answer.body
        assert "secret details" in caplog.text


async def test_each_request_is_observed_under_a_bounded_name() -> None:
    seen: list[tuple[str, int]] = []
    async with fake_node() as node:
        verbs = Verbs(node.attachments, observe=lambda verb, code, seconds: seen.append((verb, code)))
        await verbs.serve(RawRequest(environment("ADD"), netconf()), 7)
        await verbs.serve(RawRequest(environment("ADD", CNI_IFNAME=""), netconf()), 7)
        await verbs.serve(RawRequest(environment("../../etc"), netconf()), 7)
    assert seen == [("ADD", 0), ("ADD", 4), ("unknown", 4)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CniError(51, "x"), 51),
        (NoSuchNamespace("x"), codes.UNKNOWN_CONTAINER),
        (KernelError("x"), codes.KERNEL_REFUSED),
        (PoolExhausted("x"), codes.TRY_AGAIN_LATER),
        (AddressInUse("x"), codes.TRY_AGAIN_LATER),
        (NotInPool("x"), codes.INVALID_CONFIG),
        (InputError("f", "v", "x"), codes.INVALID_CONFIG),
        (StoreError("x"), codes.IO_FAILURE),
        (PodwireError("x"), codes.INTERNAL),
    ],
)
def test_codes(error: PodwireError, code: int) -> None:
    assert codes.as_cni_error(error).code == code


def test_the_remedy_becomes_the_details() -> None:
    mapped = codes.as_cni_error(PoolExhausted("full", remedy="delete pods"))
    assert (mapped.message, mapped.details) == ("full", "delete pods")
