"""``lab apply``, ``delete``, ``get``: the little of kubectl that needs no kubectl."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from podwire.cluster import manifests
from podwire.cluster.client import Client, Object
from podwire.cluster.resources import Resource
from podwire.lab.cluster import Lab
from podwire.lab.commands import kinds
from podwire.lab.commands.common import ask_api, name_option, output_option, say, show, table
from podwire.model.errors import InputError, NotFound

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

_namespace = click.option("-n", "--namespace", default="default", show_default=True, help="Namespace.")
_files = click.option(
    "-f", "--filename", "files", multiple=True, metavar="FILE", help="Manifest, folder of manifests, or - for stdin."
)


def _load(files: tuple[str, ...]) -> list[Object]:
    objects: list[Object] = []
    for file in files:
        if file == "-":
            objects += manifests.parse(sys.stdin.read(), "stdin")
        else:
            objects += manifests.load([Path(file)])
    return objects


def _tell(what: str, how: str) -> None:
    click.echo(f"{what} {how}")


@click.command("apply")
@_files
@_namespace
@name_option
def apply_command(files: tuple[str, ...], namespace: str, name: str) -> None:
    """Create or change what a manifest says: podwire lab apply -f FILE."""
    if not files:
        raise click.UsageError("say which manifest: -f FILE")
    objects = _load(files)
    lab = Lab.load(name)
    ask_api(lab, lambda client: manifests.Applier(client).apply(objects, namespace, _tell))


@click.command("delete")
@click.argument("targets", nargs=-1, metavar="[KIND NAME… | KIND/NAME…]")
@_files
@_namespace
@name_option
def delete_command(targets: tuple[str, ...], files: tuple[str, ...], namespace: str, name: str) -> None:
    """Delete what a manifest says, or objects by kind and name."""
    if bool(targets) == bool(files):
        raise click.UsageError("say either -f FILE, or a kind and a name")
    lab = Lab.load(name)
    if files:
        objects = _load(files)
        ask_api(lab, lambda client: manifests.Applier(client).delete(objects, namespace, _tell))
        return
    pairs = _pairs(targets)
    if not all(one for _, one in pairs):
        raise click.UsageError("say which one: KIND NAME or KIND/NAME")

    async def work(client: Client) -> None:
        for (_, one), resource in zip(pairs, await kinds.find(client, [kind for kind, _ in pairs]), strict=True):
            await client.delete(resource, one, namespace if resource.namespaced else "")
            _tell(f"{resource.kind.lower()}/{one}", "deleted")

    ask_api(lab, work)


def _pairs(targets: tuple[str, ...]) -> list[tuple[str, str]]:
    """(kind, name) of ``pods``, ``pods,nodes``, ``pod web1 web2`` and ``pod/web1 node/node1``; name "" means all."""
    if any("/" in target for target in targets):
        split = [target.partition("/") for target in targets]
        if not all(kind and one for kind, _, one in split):
            raise click.UsageError("write every target as KIND/NAME, or none")
        return [(kind, one) for kind, _, one in split]
    asked = targets[0].split(",")
    names = targets[1:] or ("",)
    return [(kind, one) for kind in asked if kind for one in names]


@click.command("get")
@click.argument("targets", nargs=-1, required=True, metavar="KIND[,KIND…] [NAME…] | KIND/NAME…")
@_namespace
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Of all namespaces.")
@click.option("-l", "--selector", default="", help="Label selector.")
@output_option("wide", "json", "yaml", "name")
@name_option
def get_command(
    targets: tuple[str, ...], namespace: str, everywhere: bool, selector: str, output: str | None, name: str
) -> None:
    """Show objects: podwire lab get pods -o wide."""
    lab = Lab.load(name)
    pairs = _pairs(targets)
    where = "" if everywhere else namespace

    async def work(client: Client) -> list[tuple[Resource, Any]]:
        resources = await kinds.find(client, [kind for kind, _ in pairs])
        accept = _TABLE if output in (None, "wide") else "application/json"
        answers = []
        for (_, one), resource in zip(pairs, resources, strict=True):
            if one and everywhere and resource.namespaced:
                raise InputError("--all-namespaces", None, "cannot go with a name")
            params = {"labelSelector": selector} if selector and not one else {}
            raw = await client.raw("GET", resource.path(where, one), params=params, accept=accept)
            answers.append((resource, msgspec.json.decode(raw)))
        return answers

    answers = ask_api(lab, work)
    if output in ("json", "yaml"):
        _print_objects(answers, output)
    elif output == "name":
        for resource, answer in answers:
            for item in answer.get("items", [answer]):
                click.echo(f"{resource.kind.lower()}/{item['metadata']['name']}")
    else:
        _print_tables(answers, wide=output == "wide", everywhere=everywhere)


def _print_objects(answers: list[tuple[Resource, Any]], output: str) -> None:
    if len(answers) == 1:
        show(answers[0][1], output)
        return
    items = [item for _, answer in answers for item in answer.get("items", [answer])]
    show({"apiVersion": "v1", "kind": "List", "items": items}, output)


def _print_tables(answers: list[tuple[Resource, Any]], *, wide: bool, everywhere: bool) -> None:
    printed = False
    merged: dict[str, tuple[Resource, Any]] = {}
    for resource, answer in answers:  # objects asked for one by one share a table
        known = merged.setdefault(resource.plural, (resource, {**answer, "rows": []}))
        known[1]["rows"] += answer.get("rows") or []
    for resource, answer in merged.values():
        text = render_table(answer, wide=wide, namespaces=everywhere and resource.namespaced)
        if not text:
            continue
        if printed:
            click.echo()
        click.echo(text)
        printed = True
    if not printed:
        say("no resources found")


def render_table(answer: dict[str, Any], *, wide: bool, namespaces: bool) -> str:
    """A metav1.Table as text; "" when it has no rows. Columns of priority above 0 show only when *wide*."""
    if answer.get("kind") != "Table":
        raise NotFound("the API server does not print tables", 406)
    columns = answer.get("columnDefinitions") or []
    chosen = [index for index, column in enumerate(columns) if wide or not column.get("priority")]
    header = [str(columns[index]["name"]).upper() for index in chosen]
    rows = []
    for row in answer.get("rows") or []:
        cells = ["" if row["cells"][index] is None else str(row["cells"][index]) for index in chosen]
        if namespaces:
            cells.insert(0, str((row.get("object") or {}).get("metadata", {}).get("namespace", "")))
        rows.append(cells)
    if namespaces:
        header.insert(0, "NAMESPACE")
    return table(header, rows) if rows else ""
