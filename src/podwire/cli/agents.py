"""Asking agents: the one of this machine, or those of a lab's nodes, through their control sockets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from podwire.agent.ask import ask
from podwire.model.errors import PodwireError

if TYPE_CHECKING:
    from podwire.lab.cluster import Node

F = TypeVar("F", bound=Callable[..., Any])


def target_options(command: F) -> F:
    """--node, --lab and --run-dir."""
    command = click.option(
        "--run-dir", default="/run/podwire", show_default=True, help="Where this machine's agent runs."
    )(command)
    command = click.option("--lab", default="", help="Name of the lab; default: the one that runs.")(command)
    return click.option("--node", default="", help="Only this node.")(command)


def output_option(command: F) -> F:
    """-o json|yaml."""
    return click.option("-o", "--output", type=click.Choice(["json", "yaml"]), default=None, help="For programs.")(
        command
    )


def print_encoded(value: Any, output: str) -> None:
    """Print as JSON or YAML."""
    if output == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    else:
        sys.stdout.write(msgspec.yaml.encode(value).decode())


def ask_agents(path: str, *, node: str, lab: str, run_dir: str) -> dict[str, Any]:
    """GET *path* of every agent that is meant: by node name; an agent that does not answer gives {"error": …}."""
    local = Path(run_dir) / "control.sock"
    if local.exists() and not lab and not node:
        answer = ask(local, path)
        return {str(answer.get("node", "this node")) if isinstance(answer, dict) else "this node": answer}
    answers: dict[str, Any] = {}
    for name, control in lab_sockets(lab, node).items():
        try:
            answers[name] = ask(control, path)
        except PodwireError as error:
            answers[name] = {"error": error.message}
    return answers


def lab_sockets(lab: str, node: str) -> dict[str, Path]:
    """Control sockets of a lab's nodes (or of one), by node name; a node that is down gets a path that leads nowhere."""
    from podwire.lab.cluster import Lab

    found = Lab.load(lab) if lab else Lab.load()
    sockets = {each.name: _socket(each) for each in found.nodes}
    if node and node not in sockets:
        raise PodwireError(f"the lab has no node {node}", remedy=f"it has: {', '.join(sockets)}")
    return {node: sockets[node]} if node else sockets


def _socket(node: Node) -> Path:
    try:
        return node.path("/run/podwire/control.sock")
    except PodwireError:
        return Path(f"/nonexistent/{node.name}")
