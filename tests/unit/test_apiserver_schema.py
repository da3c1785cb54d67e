"""Schemas: the notation, the walk that checks, and structural schemas of custom kinds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.lab.apiserver.schema import structural
from podwire.lab.apiserver.schema.builtin import types
from podwire.lab.apiserver.schema.check import Report, check
from podwire.lab.apiserver.schema.model import Schema
from tests.support.apiserver import pod


def checked(schema: Schema, value: Any) -> tuple[Any, Report]:
    report = Report()
    return check(schema, value, report), report


def test_every_type_that_is_referred_to_is_defined() -> None:
    assert types().undefined() == []


def test_no_two_fields_of_a_type_share_a_protobuf_number() -> None:
    for schema in types().named().values():
        numbered = set(schema.numbers.values())
        assert len(numbered) == len(schema.numbers), schema.name
        assert not set(schema.numbers) & set(schema.embeds), schema.name


def test_defaults_reach_every_container() -> None:
    value, report = checked(
        types()["Pod"], pod("a", containers=[{"name": "c", "image": "i", "ports": [{"containerPort": 1}]}])
    )
    assert not report.wrong and not report.mistyped and not report.unknown
    assert value["spec"]["restartPolicy"] == "Always"
    assert value["spec"]["containers"][0]["ports"][0]["protocol"] == "TCP"


def test_unknown_fields_are_pruned_and_named_by_path() -> None:
    given = pod("a", containers=[{"name": "c", "image": "i", "imagePullPolice": "x"}], colour="red")
    value, report = checked(types()["Pod"], given)
    assert sorted(report.unknown) == ["spec.colour", "spec.containers[0].imagePullPolice"]
    assert "colour" not in value["spec"]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({}, "spec.containers", "Required value"),
        ({"containers": [{"image": "i"}]}, "spec.containers[0].name", "Required value"),
        ({"containers": [], "restartPolicy": "Sometimes"}, "spec.restartPolicy", 'Unsupported value: "Sometimes"'),
        ({"containers": [{"name": "c", "ports": [{"containerPort": 0}]}]}, "spec.containers[0].ports[0].containerPort", "1"),
        ({"containers": [], "activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds", "1"),
        ({"containers": [], "overhead": {"cpu": "lots"}}, "spec.overhead[cpu]", "quantity"),
    ],
)  # fmt: skip
def test_what_is_wrong_names_its_field(spec: dict[str, Any], field: str, message: str) -> None:
    _, report = checked(types()["Pod"], {"metadata": {}, "spec": spec})
    assert [cause.field for cause in report.wrong] == [field]
    assert message in report.wrong[0].message


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"containers": "one"}, "spec.containers"),
        ({"containers": [], "hostNetwork": "yes"}, "spec.hostNetwork"),
        ({"containers": [], "terminationGracePeriodSeconds": 1.5}, "spec.terminationGracePeriodSeconds"),
        ({"containers": [{"name": True}]}, "spec.containers[0].name"),
    ],
)
def test_a_wrong_type_is_told_apart_from_a_wrong_value(spec: dict[str, Any], field: str) -> None:
    _, report = checked(types()["Pod"], {"metadata": {}, "spec": spec})
    assert [cause.field for cause in report.mistyped] == [field]


def test_null_is_no_value() -> None:
    value, report = checked(types()["Pod"], pod("a", nodeName=None))
    assert "nodeName" not in value["spec"] and not report.mistyped


def test_numbers_are_quantities_too() -> None:
    containers = [{"name": "c", "image": "i", "resources": {"limits": {"cpu": 2}}}]
    value, _ = checked(types()["Pod"], pod("a", containers=containers))
    assert value["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "2"


def test_a_recursion_bomb_is_refused() -> None:
    schema = Schema("object", preserve=True)
    schema.values = schema
    value: dict[str, Any] = {}
    for _ in range(200):
        value = {"a": value}
    _, report = checked(schema, value)
    assert "nested" in report.wrong[0].message


DEFINITION: dict[str, Any] = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["cidr"],
            "properties": {
                "cidr": {"type": "string", "pattern": "^[0-9./]+$", "maxLength": 18},
                "size": {"type": "integer", "minimum": 8, "maximum": 32, "default": 24},
                "mode": {"type": "string", "enum": ["a", "b"]},
                "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "peers": {
                    "type": "array",
                    "maxItems": 2,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
                },
                "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "maybe": {"type": "string", "nullable": True},
            },
        }
    },
}


def custom() -> Schema:
    causes: list[Any] = []
    schema = structural.read(DEFINITION, causes, "schema", types()["ObjectMeta"])
    assert causes == []
    return schema


def test_a_custom_object_is_checked_and_defaulted() -> None:
    value, report = checked(
        custom(),
        {
            "spec": {
                "cidr": "10.0.0.0/8",
                "extra": {"x": [1]},
                "port": "http",
                "maybe": None,
                "labels": {"a": "b"},
                "z": 1,
            }
        },
    )
    assert not report.wrong and not report.mistyped and report.unknown == ["spec.z"]
    assert value["spec"] == {
        "cidr": "10.0.0.0/8", "extra": {"x": [1]}, "port": "http", "maybe": None, "labels": {"a": "b"}, "size": 24,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "spec.cidr"),
        ({"cidr": "ten"}, "spec.cidr"),
        ({"cidr": "1" * 19}, "spec.cidr"),
        ({"cidr": "1", "size": 7}, "spec.size"),
        ({"cidr": "1", "size": 33}, "spec.size"),
        ({"cidr": "1", "mode": "c"}, "spec.mode"),
        ({"cidr": "1", "peers": [{"name": "a"}, {"name": "a"}]}, "spec.peers[1]"),
        ({"cidr": "1", "peers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}, "spec.peers"),
        ({"cidr": "1", "peers": [{}]}, "spec.peers[0].name"),
        ({"cidr": "1", "port": 1.5}, "spec.port"),
        ({"cidr": "1", "labels": {"a": 1}}, "spec.labels[a]"),
    ],
)
def test_a_custom_object_that_breaks_its_schema_is_refused(spec: dict[str, Any], field: str) -> None:
    _, report = checked(custom(), {"spec": spec})
    assert [cause.field for cause in (*report.wrong, *report.mistyped)] == [field]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"type": "string"}, "s.type"),
        ({"type": "object", "properties": {"a": {}}}, "s.properties[a].type"),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "s.properties[a].items"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}, "s.properties[a].pattern"),
        ({"type": "object", "oneOf": []}, "s.oneOf"),
        ({"type": "object", "x-kubernetes-validations": []}, "s.x-kubernetes-validations"),
        ({"type": "object", "required": "spec"}, "s.required"),
        ({"type": "object", "properties": {"a": {"type": "integer", "minimum": "1"}}}, "s.properties[a].minimum"),
        ({"type": "object", "properties": []}, "s.properties"),
    ],
)
def test_a_schema_that_cannot_be_honoured_is_refused(document: dict[str, Any], field: str) -> None:
    causes: list[Any] = []
    structural.read(document, causes, "s", types()["ObjectMeta"])
    assert field in [cause.field for cause in causes]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["containers", "nodeName", "tolerations", "volumes", "securityContext", "nodeSelector", "priority"]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(FIELDS, JSON, max_size=4))
def test_no_input_breaks_the_walk_and_a_second_walk_finds_nothing_new(spec: dict[str, Any]) -> None:
    value, report = checked(types()["Pod"], {"metadata": {}, "spec": spec})
    again, second = checked(types()["Pod"], value)
    assert again == value and second.unknown == []
    assert len(second.wrong) == len(report.wrong) and len(second.mistyped) == len(report.mistyped)
