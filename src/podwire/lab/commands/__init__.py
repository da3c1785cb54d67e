"""``podwire lab …``: make, use and break a cluster on this machine.

Each command's module is imported when it is used, so that ``--help`` is quick. Commands turn arguments into calls of
:mod:`podwire.lab` and answers into text; they decide nothing.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import click

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo:demo", "A lab, pods, their wiring and the proof, in one go."),
    "up": ("cluster:up_command", "Make a lab."),
    "status": ("cluster:status_command", "Show nodes, control plane, and how to reach the lab."),
    "list": ("cluster:list_command", "List the labs on this machine."),
    "down": ("cluster:down_command", "End a lab; nothing of it remains."),
    "apply": ("objects:apply_command", "Create or change what a manifest says."),
    "delete": ("objects:delete_command", "Delete what a manifest says, or an object by name."),
    "get": ("objects:get_command", "Show objects as a table, JSON or YAML."),
    "exec": ("pods:exec_command", "Run a command in a pod."),
    "logs": ("pods:logs_command", "Print what a container printed."),
    "node": ("nodes:node", "Add, remove, reboot, cut, heal a node; run a command on it."),
    "fabric": ("fabric:fabric", "Lose frames, block ports, change the MTU between nodes."),
}
"""Name -> (module:attribute below this package, one line of help)."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if find_spec(f"{__name__}.{COMMANDS[name][0].partition(':')[0]}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.command(cls=_LazyGroup)
def lab() -> None:
    """Make, use and break a cluster of network namespaces on this machine.

    Everything happens in namespaces: the machine's own network is never touched.
    """
