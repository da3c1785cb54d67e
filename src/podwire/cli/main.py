"""The ``podwire`` command and the table of its subcommands."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import click

from podwire import __version__
from podwire.model.errors import PodwireError

COMMANDS: dict[str, tuple[str, str]] = {
    "lab": ("podwire.lab.commands:lab", "Make, use and break a cluster on this machine."),
    "verify": ("podwire.verify.command:verify_command", "Prove the three guarantees, with evidence."),
    "wiring": ("podwire.cli.wiring:wiring", "Show how a node or a pod is wired, from the kernel."),
    "ip": ("podwire.cli.ip:ip", "Show addresses: in use, free, cooling, forecast; check the invariant."),
    "config": ("podwire.cli.config:config", "Print, explain or validate the configuration."),
    "agent": ("podwire.cli.daemons:agent", "Run the agent of this node."),
    "controller": ("podwire.cli.daemons:controller", "Run the cluster's controller."),
}
"""Name -> (module:attribute, one line of help); loaded when called, listed without being loaded."""


class _LazyGroup(click.Group):
    """A group whose commands are imported only when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="podwire %(version)s")
def cli() -> None:
    """podwire: the Kubernetes network model, implemented and proven."""


def main() -> NoReturn:
    """Run the command line; exit codes: 0 fine, 1 the answer is no, 2 it could not be carried out."""
    try:
        status = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except PodwireError as error:
        print(f"podwire: {error.message}", file=sys.stderr)
        if error.remedy:
            print(f"         {error.remedy}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(status if isinstance(status, int) else 0)
