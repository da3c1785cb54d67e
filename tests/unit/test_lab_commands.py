"""What the lab's commands make of arguments and answers, without a lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

import click
import msgspec
import pytest
from click.testing import CliRunner

from podwire.cluster.client import Client
from podwire.lab import kubernetes
from podwire.lab.commands import COMMANDS, common, kinds, lab, objects
from podwire.lab.commands.objects import _pairs, render_table
from podwire.lab.status import ready_condition
from podwire.model.errors import ClusterError, InputError, LabError

PODS = {
    "kind": "Table",
    "columnDefinitions": [
        {"name": "Name", "priority": 0},
        {"name": "Ready", "priority": 0},
        {"name": "Node", "priority": 1},
    ],
    "rows": [
        {"cells": ["web-1", "1/1", "node1"], "object": {"metadata": {"namespace": "default"}}},
        {"cells": ["a-long-name", None, "node2"], "object": {"metadata": {"namespace": "other"}}},
    ],
}


def test_a_table_is_printed_as_kubectl_prints_it() -> None:
    assert render_table(PODS, wide=False, namespaces=False) == "NAME          READY\nweb-1         1/1\na-long-name"


def test_wide_shows_the_rest_and_all_namespaces_their_name() -> None:
    first, second, _ = render_table(PODS, wide=True, namespaces=True).splitlines()
    assert first.split() == ["NAMESPACE", "NAME", "READY", "NODE"]
    assert second.split() == ["default", "web-1", "1/1", "node1"]


def test_an_empty_table_is_no_text() -> None:
    assert render_table({**PODS, "rows": []}, wide=False, namespaces=False) == ""


def test_a_server_without_tables_is_said_to_be_so() -> None:
    with pytest.raises(ClusterError, match="tables"):
        render_table({"kind": "PodList", "items": []}, wide=False, namespaces=False)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (("pods",), [("pods", "")]),
        (("pods,nodes",), [("pods", ""), ("nodes", "")]),
        (("pod", "a", "b"), [("pod", "a"), ("pod", "b")]),
        (("pod/a", "node/b"), [("pod", "a"), ("node", "b")]),
    ],
)
def test_targets_are_read_as_kubectl_reads_them(given: tuple[str, ...], meant: list[tuple[str, str]]) -> None:
    assert _pairs(given) == meant


def test_a_mixture_of_target_forms_is_refused() -> None:
    with pytest.raises(click.UsageError):
        _pairs(("pod/a", "b"))


class _Discovery:
    """The discovery documents of a server with two groups that both serve ``events``."""

    ANSWERS: ClassVar[dict[str, Any]] = {
        "/apis": {"groups": [{"name": "events.k8s.io", "preferredVersion": {"groupVersion": "events.k8s.io/v1"}}]},
        "/api/v1": {
            "resources": [
                {"name": "pods", "kind": "Pod", "namespaced": True, "singularName": "pod", "shortNames": ["po"]},
                {"name": "pods/log", "kind": "Pod", "namespaced": True},
                {"name": "nodes", "kind": "Node", "namespaced": False},
                {"name": "events", "kind": "Event", "namespaced": True},
            ]
        },
        "/apis/events.k8s.io/v1": {"resources": [{"name": "events", "kind": "Event", "namespaced": True}]},
    }

    async def raw(self, _method: str, path: str) -> bytes:
        return msgspec.json.encode(self.ANSWERS[path])


async def test_a_kind_is_found_by_any_of_its_names() -> None:
    client = cast(Client, _Discovery())
    found = await kinds.find(client, ["po", "Pod", "pods", "node", "events", "events.events.k8s.io"])
    assert [(one.group, one.plural) for one in found] == [
        ("", "pods"),
        ("", "pods"),
        ("", "pods"),
        ("", "nodes"),
        ("", "events"),
        ("events.k8s.io", "events"),
    ]


async def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean pods"):
        await kinds.find(cast(Client, _Discovery()), ["podss"])


def test_every_command_that_exists_explains_itself() -> None:
    group = cast(click.Group, lab)
    names = group.list_commands(click.Context(group))
    assert {"up", "down", "status", "apply", "get", "exec", "logs", "node"} <= set(names) <= set(COMMANDS)
    for name in names:
        result = CliRunner().invoke(group, [name, "--help"])
        assert result.exit_code == 0, result.output
        assert result.output.startswith("Usage:")


def test_apply_reads_stdin_and_names_what_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PODWIRE_LAB_DIR", str(tmp_path))
    result = CliRunner().invoke(objects.apply_command, ["-f", "-"], input="kind: Pod\n")
    assert isinstance(result.exception, InputError) and "apiVersion" in str(result.exception)


def test_a_lab_that_is_not_there_says_what_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PODWIRE_LAB_DIR", str(tmp_path))
    (tmp_path / "other").mkdir()
    result = CliRunner().invoke(objects.get_command, ["pods"])
    assert isinstance(result.exception, LabError) and "there are: other" in str(result.exception)


def test_colour_needs_a_terminal_and_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert common.coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not common.coloured()


@pytest.mark.parametrize(
    ("conditions", "meant"),
    [
        ([{"type": "Ready", "status": "True", "message": "fine"}], ("Ready", "fine")),
        ([{"type": "Ready", "status": "False", "reason": "NoCni"}], ("NotReady", "NoCni")),
        ([{"type": "Ready", "status": "Unknown"}], ("Unknown", "")),
        ([{"type": "DiskPressure", "status": "False"}], ("NotReady", "its kubelet has not reported yet")),
    ],
)
def test_readiness_is_the_ready_conditions(conditions: list[dict[str, str]], meant: tuple[str, str]) -> None:
    assert ready_condition({"status": {"conditions": conditions}}) == meant


@pytest.mark.parametrize(
    ("node", "says"),
    [
        (None, "has not registered"),
        ({"status": {"conditions": [{"type": "Ready", "status": "False", "message": "no CNI"}]}}, "NotReady (no CNI)"),
        (
            {"status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"bootID": "before"}}},
            "has not reported since it booted",
        ),
    ],
)
def test_a_node_is_waited_for_until_its_present_boot_is_ready(node: dict[str, Any] | None, says: str) -> None:
    assert says in kubernetes._missing("node1", node, "now")
    fine = {"status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"bootID": "now"}}}
    assert kubernetes._missing("node1", fine, "now") == ""
