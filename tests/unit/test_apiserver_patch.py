"""Patches: tables from the RFCs and from what kubectl sends."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.lab.apiserver.errors import ApiError
from podwire.lab.apiserver.patch.apply import field_set, server_side_apply
from podwire.lab.apiserver.patch.json_patch import json_patch
from podwire.lab.apiserver.patch.merge import merge_patch
from podwire.lab.apiserver.patch.strategic import strategic_merge
from podwire.lab.apiserver.schema.builtin import types

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcde"), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert merge_patch(target, patch) == result
    assert target == before


@settings(max_examples=100, deadline=None)
@given(JSON, JSON)
def test_merge_patch_is_idempotent(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


@pytest.mark.parametrize(
    ("target", "operations", "result"),
    [  # RFC 6902, appendix A, and pointers of RFC 6901
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["a", "c"]}, [{"op": "add", "path": "/foo/1", "value": "b"}], {"foo": ["a", "b", "c"]}),
        ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": ["b"]}], {"foo": ["a", ["b"]]}),
        ({"baz": 1, "foo": 2}, [{"op": "remove", "path": "/baz"}], {"foo": 2}),
        ({"foo": ["a", "b"]}, [{"op": "remove", "path": "/foo/0"}], {"foo": ["b"]}),
        ({"baz": 1}, [{"op": "replace", "path": "/baz", "value": None}], {"baz": None}),
        ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
        ({"a": [1, 2, 3]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}),
        ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
        ({"a": [1]}, [{"op": "test", "path": "/a/0", "value": 1}], {"a": [1]}),
        ({"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/m~0n"}], {}),
        ({"a": 1}, [{"op": "add", "path": "", "value": {"b": 2}}], {"b": 2}),
    ],
)
def test_json_patch(target: Any, operations: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert json_patch(target, operations) == result
    assert target == before


@pytest.mark.parametrize(
    ("target", "operations", "code"),
    [
        ({}, {"op": "add"}, 400),
        ({}, [{"op": "add", "path": "a", "value": 1}], 400),
        ({}, [{"op": "add", "path": "/a"}], 400),
        ({}, [{"op": "explode", "path": "/a"}], 400),
        ({}, ["add"], 400),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 2}], 422),
        ({}, [{"op": "remove", "path": "/a"}], 422),
        ({}, [{"op": "remove", "path": ""}], 422),
        ({}, [{"op": "replace", "path": "/a", "value": 1}], 422),
        ({"a": [1]}, [{"op": "add", "path": "/a/3", "value": 1}], 422),
        ({"a": [1]}, [{"op": "add", "path": "/a/01", "value": 1}], 422),
        ({"a": 1}, [{"op": "add", "path": "/a/b", "value": 1}], 422),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/b"}], 422),
    ],
)
def test_json_patch_refuses(target: Any, operations: Any, code: int) -> None:
    with pytest.raises(ApiError) as refused:
        json_patch(target, operations)
    assert refused.value.code == code


POD: dict[str, Any] = {
    "metadata": {"name": "p", "finalizers": ["a/b"], "labels": {"x": "1"}},
    "spec": {
        "containers": [
            {"name": "a", "image": "1", "env": [{"name": "E", "value": "1"}, {"name": "F", "value": "2"}]},
            {"name": "b", "image": "1", "args": ["x", "y"]},
        ],
        "tolerations": [{"key": "k"}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    },
}


def strategic(patch: dict[str, Any], kind: str = "Pod", target: dict[str, Any] = POD) -> dict[str, Any]:
    before = copy.deepcopy(target)
    result: dict[str, Any] = strategic_merge(target, patch, types()[kind])
    assert target == before
    return result


def test_containers_merge_by_name_and_env_by_name() -> None:
    patch = {"spec": {"containers": [{"name": "a", "env": [{"name": "F", "value": "3"}, {"name": "G", "value": "4"}]}]}}
    first, second = strategic(patch)["spec"]["containers"]
    assert first["env"] == [{"name": "E", "value": "1"}, {"name": "F", "value": "3"}, {"name": "G", "value": "4"}]
    assert first["image"] == "1" and second == POD["spec"]["containers"][1]


def test_an_element_is_deleted_by_its_key() -> None:
    patch = {"spec": {"containers": [{"$patch": "delete", "name": "a"}]}}
    assert [container["name"] for container in strategic(patch)["spec"]["containers"]] == ["b"]


def test_a_list_is_replaced_as_a_whole_when_the_patch_says_so() -> None:
    patch = {"spec": {"containers": [{"name": "c", "image": "2"}, {"$patch": "replace"}]}}
    assert strategic(patch)["spec"]["containers"] == [{"name": "c", "image": "2"}]


def test_lists_without_a_key_are_replaced() -> None:
    patched = strategic({"spec": {"tolerations": [{"key": "z"}], "containers": [{"name": "b", "args": ["z"]}]}})
    assert patched["spec"]["tolerations"] == [{"key": "z"}]
    assert patched["spec"]["containers"][1]["args"] == ["z"]


def test_sets_are_joined_and_their_members_deleted() -> None:
    assert strategic({"metadata": {"finalizers": ["a/b", "c/d"]}})["metadata"]["finalizers"] == ["a/b", "c/d"]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"]}}
    assert strategic(patch)["metadata"]["finalizers"] == []


def test_null_deletes_and_retain_keys_drops_what_is_not_named() -> None:
    assert "labels" not in strategic({"metadata": {"labels": None}})["metadata"]
    patch = {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}]}}
    assert strategic(patch)["spec"]["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]


def test_order_follows_the_patch() -> None:
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
            "containers": [{"name": "c", "image": "9"}],
        }
    }
    assert [container["name"] for container in strategic(patch)["spec"]["containers"]] == ["c", "b", "a"]


def test_ports_of_a_service_merge_by_port() -> None:
    service = {"spec": {"ports": [{"port": 80, "targetPort": 1}, {"port": 81, "targetPort": 2}]}}
    patched = strategic({"spec": {"ports": [{"port": 81, "targetPort": 3}]}}, "Service", service)
    assert [port["targetPort"] for port in patched["spec"]["ports"]] == [1, 3]


@pytest.mark.parametrize(
    "patch",
    [
        {"$patch": "explode"},
        {"spec": {"containers": [{"image": "x"}]}},
        {"spec": {"containers": ["a"]}},
        {"$retainKeys": 1},
    ],
)
def test_strategic_merge_refuses_nonsense(patch: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        strategic(patch)
    assert refused.value.code == 400


# Server-side apply


def apply(
    live: dict[str, Any] | None, wanted: dict[str, Any], manager: str = "me", *, force: bool = False
) -> dict[str, Any]:
    wanted = {"apiVersion": "v1", "kind": "Pod", **wanted}
    return server_side_apply(live, wanted, types()["Pod"], manager=manager, force=force, now="T", resource="pods")


def env(name: str, value: str) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c", "env": [{"name": name, "value": value}]}]}}


def test_what_a_manager_no_longer_applies_goes_and_the_rest_stays() -> None:
    live = apply(None, {"metadata": {"name": "p", "labels": {"a": "1", "b": "2"}}, **env("E", "1")})
    live["spec"]["nodeName"] = "n1"  # set by another hand, with an update
    after = apply(live, {"metadata": {"name": "p", "labels": {"b": "2"}}, **env("F", "1")})
    assert after["metadata"]["labels"] == {"b": "2"}
    assert after["spec"] == {"containers": [{"name": "c", "env": [{"name": "F", "value": "1"}]}], "nodeName": "n1"}


def test_two_managers_share_a_list_by_its_keys() -> None:
    live = apply(None, {"metadata": {"name": "p"}, **env("E", "1")}, "one")
    live = apply(live, {"metadata": {"name": "p"}, **env("F", "2")}, "two")
    assert [item["name"] for item in live["spec"]["containers"][0]["env"]] == ["E", "F"]
    live = apply(live, {"metadata": {"name": "p"}, "spec": {}}, "two")
    assert live["spec"]["containers"] == [{"name": "c", "env": [{"name": "E", "value": "1"}]}]


def test_a_conflict_names_manager_and_field_and_force_takes_over() -> None:
    live = apply(None, {"metadata": {"name": "p", "labels": {"a": "1"}}}, "one")
    assert apply(live, {"metadata": {"name": "p", "labels": {"a": "1"}}}, "two")["metadata"]["labels"] == {"a": "1"}
    with pytest.raises(ApiError) as refused:
        apply(live, {"metadata": {"name": "p", "labels": {"a": "2"}}}, "two")
    assert refused.value.code == 409
    assert [(cause.field, cause.message) for cause in refused.value.causes] == [
        (".metadata.labels.a", 'conflict with "one"')
    ]
    live = apply(live, {"metadata": {"name": "p", "labels": {"a": "2"}}}, "two", force=True)
    assert live["metadata"]["labels"] == {"a": "2"}
    assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == ["two"]


def test_applying_the_same_again_changes_nothing() -> None:
    wanted = {"metadata": {"name": "p", "labels": {"a": "1"}}, **env("E", "1")}
    live = apply(None, wanted)
    assert apply(copy.deepcopy(live), wanted) == live


def test_field_sets_are_written_as_kubernetes_writes_them() -> None:
    ports = [{"containerPort": 80}]
    found = field_set({"spec": {"containers": [{"name": "c", "ports": ports, "args": ["a"]}]}}, types()["Pod"])
    container = found["f:spec"]["f:containers"]['k:{"name":"c"}']
    assert container == {
        ".": {},
        "f:name": {},
        "f:args": {},
        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
    }
