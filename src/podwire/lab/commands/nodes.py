"""``lab node add|remove|reboot|cut|heal|run``."""

from __future__ import annotations

import os

import click

from podwire.lab import nodes
from podwire.lab.cluster import Lab
from podwire.lab.commands.common import headline, interruptible, name_option, need_root, say
from podwire.lab.kubernetes import Kubernetes
from podwire.lab.sandbox.plan import base_environment


@click.group()
def node() -> None:
    """Add, remove, reboot, cut, heal a node; run a command on it."""
    need_root()


@node.command()
@click.argument("node_name", metavar="[NODE]", required=False, default="")
@name_option
@click.option("--subnet", type=int, default=None, help="Which subnet; default: the next in turn.")
@click.option("--wait/--no-wait", default=True, help="Wait until it is Ready.")
def add(node_name: str, name: str, subnet: int | None, wait: bool) -> None:
    """Plug a new node in."""
    with interruptible():
        added = nodes.add(name, Kubernetes(), name=node_name, segment=subnet, say=say, wait=wait)
    headline(f"{added.name} is {'Ready' if wait else 'starting'}")


@node.command()
@click.argument("node_name", metavar="NODE")
@name_option
def remove(node_name: str, name: str) -> None:
    """Take a node away for good, with its Node object."""
    nodes.remove(name, node_name, Kubernetes(), say)
    headline(f"{node_name} is removed")


@node.command()
@click.argument("node_name", metavar="NODE")
@name_option
@click.option("--hard", is_flag=True, help="Pull the plug instead of shutting down.")
@click.option("--wait/--no-wait", default=True, help="Wait until it is Ready again.")
def reboot(node_name: str, name: str, hard: bool, wait: bool) -> None:
    """Reboot a node: same address, same disk; fresh kernel state, /run and /tmp."""
    nodes.reboot(name, node_name, Kubernetes(), hard=hard, say=say, wait=wait)
    headline(f"{node_name} is back")


@node.command()
@click.argument("node_name", metavar="NODE")
@name_option
def cut(node_name: str, name: str) -> None:
    """Pull a node's cable."""
    Lab.load(name).node(node_name).cut()
    headline(f"{node_name} is cut off; podwire lab node heal {node_name} brings it back")


@node.command()
@click.argument("node_name", metavar="NODE")
@name_option
def heal(node_name: str, name: str) -> None:
    """Put a node's cable back."""
    Lab.load(name).node(node_name).heal()
    headline(f"{node_name} is connected")


@node.command(context_settings={"ignore_unknown_options": True})
@click.argument("node_name", metavar="NODE")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@name_option
def run(node_name: str, command: tuple[str, ...], name: str) -> None:
    """Run a command on a node, in all of its namespaces: podwire lab node run node1 -- ip route."""
    lab = Lab.load(name)
    argv = lab.node(node_name).command(command)
    environment = base_environment(lab.directory.marker)
    environment["TERM"] = os.environ.get("TERM", "dumb")
    os.execvpe(argv[0], argv, environment)  # noqa: S606 (a list, no shell)
