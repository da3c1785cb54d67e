"""Forms of answers: tables, metadata, discovery, OpenAPI; custom kinds; bodies in protobuf."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.lab.apiserver.errors import ApiError
from podwire.lab.apiserver.kinds.columns import age, duration
from podwire.lab.apiserver.kinds.custom import json_path
from podwire.lab.apiserver.kinds.printing import pod_status
from podwire.lab.apiserver.schema import protobuf
from podwire.lab.apiserver.schema.builtin import types
from tests.support.apiserver import PODS, Api, Clock, Running, node, pod, running

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
POOLS = "/apis/podwire.io/v1alpha1/pools"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(tmp_path: Path, clock: Clock) -> AsyncIterator[Running]:
    async with running(tmp_path, clock=clock) as made:
        yield made


@pytest.fixture
def api(server: Running) -> Api:
    return server.admin


def definition(**version: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["cidr"],
                "properties": {
                    "cidr": {"type": "string", "pattern": "^[0-9./]+$"},
                    "size": {"type": "integer", "default": 24},
                },
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    return {
        "metadata": {"name": "pools.podwire.io"},
        "spec": {
            "group": "podwire.io",
            "scope": "Cluster",
            "names": {"plural": "pools", "kind": "Pool", "shortNames": ["pl"]},
            "versions": [
                {
                    "name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": "CIDR", "type": "string", "jsonPath": ".spec.cidr"},
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1},
                        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    ],
                    **version,
                }
            ],
        },
    }  # fmt: skip


async def test_a_custom_kind_is_served_at_once_and_gone_with_its_definition(api: Api) -> None:
    assert (await api.get(POOLS)).status == 404
    made = await api.post(DEFINITIONS, definition())
    assert [condition["type"] for condition in made.body["status"]["conditions"]] == ["NamesAccepted", "Established"]
    pool = await api.post(POOLS, {"metadata": {"name": "a"}, "spec": {"cidr": "10.0.0.0/8"}, "status": {"x": 1}})
    assert pool.status == 201 and pool.body["spec"]["size"] == 24 and "status" not in pool.body
    wrong = await api.post(POOLS, {"metadata": {"name": "b"}, "spec": {"cidr": "ten", "size": "x"}})
    assert wrong.status == 422
    assert {cause["field"] for cause in wrong.body["details"]["causes"]} == {"spec.cidr", "spec.size"}
    status = await api.patch(f"{POOLS}/a/status", {"status": {"used": 3}, "spec": {"size": 9}})
    assert status.body["status"] == {"used": 3} and status.body["spec"]["size"] == 24
    assert status.body["metadata"]["generation"] == 1
    assert (await api.patch(f"{POOLS}/a", {}, "strategic-merge-patch+json")).status == 415
    table = (await api.get(POOLS, accept=TABLE)).body
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "CIDR", "Size", "Age"]
    assert table["rows"][0]["cells"] == ["a", "10.0.0.0/8", 24, "0s"]
    async with api.watch(POOLS) as events:
        assert (await anext(events))["type"] == "ADDED"
        await api.delete(f"{DEFINITIONS}/pools.podwire.io")
        assert (await anext(events))["type"] == "DELETED"
    assert (await api.get(POOLS)).status == 404


async def test_custom_kinds_outlive_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        await first.admin.post(DEFINITIONS, definition())
        await first.admin.post(POOLS, {"metadata": {"name": "a"}, "spec": {"cidr": "1"}})
    async with running(tmp_path) as second:
        assert (await second.admin.get(f"{POOLS}/a")).body["spec"] == {"cidr": "1", "size": 24}


async def test_two_versions_of_a_custom_kind_are_one_store(api: Api) -> None:
    both = definition()
    newer = copy.deepcopy(both["spec"]["versions"][0])
    both["spec"]["versions"].append({**newer, "name": "v1", "storage": False})
    await api.post(DEFINITIONS, both)
    await api.post("/apis/podwire.io/v1/pools", {"metadata": {"name": "a"}, "spec": {"cidr": "1"}})
    assert (await api.get(f"{POOLS}/a")).body["apiVersion"] == "podwire.io/v1alpha1"
    assert (await api.get("/apis/podwire.io/v1/pools")).body["items"][0]["apiVersion"] == "podwire.io/v1"
    group = (await api.get("/apis/podwire.io")).body
    assert [version["version"] for version in group["versions"]] == ["v1", "v1alpha1"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metadata": {"name": "other.podwire.io"}}, "metadata.name"),
        ({"versions": []}, "spec.versions"),
        ({"conversion": {"strategy": "Webhook"}}, "spec.conversion.strategy"),
        ({"group": "podwire"}, "spec.group"),
        ({"names": {"plural": "Pools", "kind": "Pool"}}, "spec.names.plural"),
    ],
)
async def test_definitions_that_make_no_sense_are_refused(api: Api, change: dict[str, Any], field: str) -> None:
    wrong = definition()
    wrong["metadata"] |= change.pop("metadata", {})
    wrong["spec"] |= change
    refused = await api.post(DEFINITIONS, wrong)
    assert refused.status == 422
    assert field in {cause["field"] for cause in refused.body["details"]["causes"]}


async def test_tables_show_what_kubectl_users_know(api: Api, clock: Clock) -> None:
    await api.post(
        "/api/v1/nodes", {**node("n1"), "metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/worker": ""}}}
    )
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
    }
    await api.patch("/api/v1/nodes/n1/status", {"status": status})
    await api.post(PODS, pod("a"))
    await api.post(f"{PODS}/a/binding", {"target": {"name": "n1"}})
    container = {"name": "main", "ready": True, "restartCount": 1, "state": {"running": {}}}
    await api.patch(
        f"{PODS}/a/status", {"status": {"phase": "Running", "podIP": "10.1.0.2", "containerStatuses": [container]}}
    )
    clock.advance(190)
    table = (await api.get(PODS, accept=TABLE)).body
    assert [column["name"] for column in table["columnDefinitions"] if not column["priority"]] == [
        "Name", "Ready", "Status", "Restarts", "Age",
    ]  # fmt: skip
    assert table["rows"][0]["cells"][:7] == ["a", "1/1", "Running", "1", "3m10s", "10.1.0.2", "n1"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert "object" not in (await api.get(PODS, accept=TABLE, includeObject="None")).body["rows"][0]
    nodes = (await api.get("/api/v1/nodes", accept=TABLE)).body["rows"][0]["cells"]
    assert nodes[:6] == ["n1", "Ready", "worker", "3m10s", "", "10.0.0.1"]
    for path in ("/api/v1/namespaces", "/api/v1/services", "/apis/apps/v1/deployments", "/apis/apps/v1/daemonsets",
                 "/apis/apps/v1/replicasets", "/api/v1/events", "/apis/coordination.k8s.io/v1/leases",
                 "/api/v1/configmaps", "/api/v1/secrets", DEFINITIONS):  # fmt: skip
        found = (await api.get(path, accept=TABLE)).body
        assert found["kind"] == "Table" and len(found["columnDefinitions"]) >= 2, path
        assert all(len(row["cells"]) == len(found["columnDefinitions"]) for row in found["rows"]), path
    metadata = (await api.get(PODS, accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")).body
    assert metadata["items"][0].keys() == {"kind", "apiVersion", "metadata"}


@pytest.mark.parametrize(
    ("pod_part", "shown"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        (
            {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]},
            "CrashLoopBackOff",
        ),
        ({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}, "ExitCode:3"),
        ({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"signal": 9}}}]}, "Signal:9"),
        (
            {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"reason": "Completed"}}}]},
            "Completed",
        ),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [{"state": {"terminated": {"exitCode": 1, "reason": "Error"}}}],
            },
            "Init:Error",
        ),
    ],
)
def test_the_status_of_a_pod_in_a_word(pod_part: dict[str, Any], shown: str) -> None:
    assert pod_status({"metadata": {}, "status": pod_part}) == shown
    assert pod_status({"metadata": {"deletionTimestamp": "x"}, "status": pod_part}) == "Terminating"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (190, "3m10s"), (600, "10m"), (10800, "3h"), (11000, "3h3m"), (86400, "24h"),
     (172800, "2d"), (180000, "2d2h"), (8 * 86400, "8d"), (800 * 86400, "2y70d"), (-5, "0s")],
)  # fmt: skip
def test_durations_are_written_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert duration(seconds) == text
    then = datetime(2026, 1, 1, tzinfo=UTC)
    assert age("2026-01-01T00:00:00Z", then + timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (".a.b", [1]), (".l[0].n", ["x"]), (".l[*].n", ["x", "y"]), ('.l[?(@.n=="y")].v', [2]), (".missing.x", []),
        (".l[9]", []), (r".m.k8s\.io/x", ["z"]), ("{.a.b}", [1]), (".m['k8s.io/x']", ["z"]), ("nonsense[", []),
    ],
)  # fmt: skip
def test_json_paths_of_printer_columns(path: str, values: list[Any]) -> None:
    obj = {"a": {"b": 1}, "l": [{"n": "x", "v": 1}, {"n": "y", "v": 2}], "m": {"k8s.io/x": "z"}}
    assert json_path(path, obj) == values


async def test_discovery_in_both_forms(api: Api) -> None:
    await api.post(DEFINITIONS, definition())
    plain = {group["name"] for group in (await api.get("/apis")).body["groups"]}
    assert {"apps", "podwire.io", "authorization.k8s.io"} <= plain
    resources = {entry["name"]: entry for entry in (await api.get("/api/v1")).body["resources"]}
    assert resources["pods"]["shortNames"] == ["po"] and "pods/exec" in resources
    assert "watch" in resources["nodes"]["verbs"] and resources["nodes"]["namespaced"] is False
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    answer = await api.get("/apis", accept=accept)
    assert answer.headers["Content-Type"] == accept.partition(",")[0]
    assert {item["metadata"]["name"] for item in answer.body["items"]} == plain
    assert (await api.get("/apis/nowhere")).status == 404


async def test_openapi_tells_that_the_server_validates(api: Api) -> None:
    await api.post(DEFINITIONS, definition())
    index = (await api.get("/openapi/v3")).body["paths"]
    for group in ("api/v1", "apis/apps/v1", "apis/podwire.io/v1alpha1"):
        document = (await api.get(index[group]["serverRelativeURL"].partition("?")[0])).body
        patches = [path["patch"] for path in document["paths"].values() if "patch" in path]
        assert patches and all("fieldValidation" in [item["name"] for item in patch["parameters"]] for patch in patches)
        schemas = document["components"]["schemas"]
        references = [schema for name in _references(document) for schema in [schemas[name]]]
        assert references


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        found = [value["$ref"].rpartition("/")[2]] if "$ref" in value else []
        return found + [name for item in value.values() for name in _references(item)]
    return [name for item in value for name in _references(item)] if isinstance(value, list) else []


# Protobuf


def number(value: int) -> bytes:
    value &= 0xFFFF_FFFF_FFFF_FFFF
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(index: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return number(index << 3) + number(value)
    data = value.encode() if isinstance(value, str) else value
    return number(index << 3 | 2) + number(len(data)) + data


def envelope(kind: str, raw: bytes, api_version: str = "v1") -> bytes:
    return b"k8s\0" + field(1, field(1, api_version) + field(2, kind)) + field(2, raw)


def protobuf_pod() -> bytes:
    port = field(1, "") + field(2, 0) + field(3, 80) + field(4, "") + field(5, "")
    probe = field(1, field(2, field(1, "/ok") + field(2, field(1, 1) + field(3, "http")))) + field(2, 0) + field(3, 5)
    limits = field(1, field(1, "cpu") + field(2, field(1, "500m")))
    container = field(1, "c") + field(2, "i") + field(6, port) + field(8, limits) + field(11, probe) + field(14, "")
    volume = field(1, "v") + field(2, field(19, field(1, field(1, "cm"))))
    spec = field(1, volume) + field(2, container) + field(3, "") + field(4, 0) + field(7, field(1, "a") + field(2, "b"))
    meta = field(1, "p") + field(2, "") + field(7, 0) + field(8, b"") + field(11, field(1, "x") + field(2, "1"))
    return envelope("Pod", field(1, meta) + field(2, spec) + field(3, field(1, "")))


def test_a_pod_in_protobuf_is_the_pod_in_json() -> None:
    assert protobuf.decode(protobuf_pod(), types()["Pod"]) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"x": "1"}},
        "spec": {
            "volumes": [{"name": "v", "configMap": {"name": "cm"}}],
            "containers": [
                {
                    "name": "c", "image": "i", "ports": [{"containerPort": 80}],
                    "resources": {"limits": {"cpu": "500m"}},
                    "readinessProbe": {"httpGet": {"path": "/ok", "port": "http"}, "timeoutSeconds": 5},
                }
            ],
            "terminationGracePeriodSeconds": 0,  # a pointer in Go: zero is a value
            "nodeSelector": {"a": "b"},
        },
    }  # fmt: skip


async def test_protobuf_over_the_wire(api: Api) -> None:
    made = await api.post(PODS, protobuf_pod(), content_type="application/vnd.kubernetes.protobuf")
    assert made.status == 201 and made.body["spec"]["terminationGracePeriodSeconds"] == 0
    affinity = envelope("Pod", field(1, field(1, "q")) + field(2, field(18, field(1, b"x"))))
    unknown = await api.post(PODS, affinity, content_type="application/vnd.kubernetes.protobuf")
    assert unknown.status == 415 and "spec.affinity" in unknown.body["message"]


def test_times_negative_numbers_and_json_in_protobuf() -> None:
    lease = field(1, field(1, "l")) + field(2, field(4, field(1, 1767323045) + field(2, 7000)) + field(2, 40))
    found = protobuf.decode(envelope("Lease", lease, "coordination.k8s.io/v1"), types()["Lease"])
    assert found["spec"] == {"renewTime": "2026-01-02T03:04:05.000007Z", "leaseDurationSeconds": 40}
    managed = field(1, "m") + field(7, field(1, b'{"f:a":{}}'))
    found = protobuf.decode(envelope("Pod", field(1, field(17, managed))), types()["Pod"])
    assert found["metadata"]["managedFields"] == [{"manager": "m", "fieldsV1": {"f:a": {}}}]
    found = protobuf.decode(envelope("Pod", field(2, field(25, -5))), types()["Pod"])
    assert found["spec"] == {"priority": -5}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 255))
def test_damaged_protobuf_is_refused_or_read_and_never_breaks(tail: bytes, position: int, byte: int) -> None:
    damaged = bytearray(protobuf_pod())
    damaged[position % len(damaged)] = byte
    for body in (b"k8s\0" + tail, bytes(damaged), envelope("Pod", tail)):
        code = 200
        try:
            protobuf.decode(body, types()["Pod"])
        except ApiError as refused:
            code = refused.code
        assert code in (200, 400, 415)
