"""``lab up``, ``down``, ``list``, ``status``."""

from __future__ import annotations

import time
from typing import Any

import click

from podwire.lab import lifecycle
from podwire.lab import status as statuses
from podwire.lab.cluster import Lab
from podwire.lab.commands.common import (
    headline,
    interruptible,
    name_option,
    need_root,
    output_option,
    say,
    show,
    table,
)
from podwire.lab.kubernetes import Kubernetes
from podwire.lab.spec import LabSpec
from podwire.lab.state import LabDirectory, lab_names
from podwire.model.errors import PodwireError

_DEFAULTS = LabSpec()


@click.command("up")
@name_option
@click.option("--nodes", default=_DEFAULTS.nodes, show_default=True, help="How many nodes.")
@click.option(
    "--backend",
    type=click.Choice(["vxlan", "host-gw"]),
    default=_DEFAULTS.backend,
    show_default=True,
    help="How pods of different nodes reach each other.",
)
@click.option(
    "--pod-cidr",
    "pod_cidrs",
    multiple=True,
    default=_DEFAULTS.pod_cidrs,
    show_default=True,
    metavar="CIDR",
    help="The cluster's pod CIDR; twice for dual stack.",
)
@click.option("--subnets", default=_DEFAULTS.subnets, show_default=True, help="Subnets, with a router between them.")
@click.option("--mtu", default=_DEFAULTS.mtu, show_default=True, help="MTU of the nodes' links, bytes.")
@click.option("--loss", default=_DEFAULTS.loss, metavar="PCT", help="Frames lost at random between hosts, percent.")
@click.option(
    "--underlay", multiple=True, default=_DEFAULTS.underlay, show_default=True, help="Where node addresses come from."
)
@click.option("--wait/--no-wait", default=True, help="Wait until all nodes are Ready.")
def up_command(name: str, wait: bool, **wanted: Any) -> None:
    """Make a lab: a switch, nodes with the real agent, and a control plane that speaks Kubernetes."""
    need_root()
    spec = LabSpec(name=name, **wanted)
    began = time.monotonic()
    with interruptible():
        lab = lifecycle.up(spec, Kubernetes(), say, wait=wait)
    headline(f"The lab {name!r} is up: {len(lab.nodes)} nodes, {spec.backend}, {time.monotonic() - began:.1f} s")
    for line in statuses.next_steps(lab):
        click.echo(f"  {line}", err=True)


@click.command("down")
@name_option
@click.option("--all", "every", is_flag=True, help="Every lab on this machine.")
def down_command(name: str, every: bool) -> None:
    """End a lab, whatever state it is in; nothing of it remains."""
    need_root()
    for one in lab_names() if every else [name]:
        if lifecycle.down(one, say):
            headline(f"The lab {one!r} is gone")
        elif not every:
            say(f"there is no lab {one!r}: nothing to do")


@click.command("list")
@output_option("json", "yaml")
def list_command(output: str | None) -> None:
    """List the labs on this machine."""
    rows: list[dict[str, object]] = []
    for name in lab_names():
        try:
            lab = Lab.load(name)
            running = sum(node.process is not None for node in lab.nodes)
            phase = lab.record.phase
            rows.append({"name": name, "phase": phase, "nodes": len(lab.nodes), "running": running})
        except PodwireError as error:
            rows.append({"name": name, "phase": "broken", "nodes": 0, "running": 0, "problem": str(error)})
    if output:
        show(rows, output)
    elif rows:
        cells = [[str(row["name"]), str(row["phase"]), f"{row['running']}/{row['nodes']}"] for row in rows]
        click.echo(table(["NAME", "PHASE", "NODES"], cells))
    else:
        say("no labs; podwire lab up makes one")


@click.command("status")
@name_option
@output_option("json", "yaml")
def status_command(name: str, output: str | None) -> int:
    """Show nodes, links, agents and the control plane; exit code 1 if something is not as it should be."""
    need_root()
    lab = Lab(LabDirectory(name), Lab.load(name).record)
    found = statuses.collect(lab)
    if output:
        show(found, output)
    else:
        _print(lab, found)
    return 0 if found.healthy else 1


def _print(lab: Lab, found: statuses.LabStatus) -> None:
    spec = lab.spec
    subnets = "one subnet" if spec.subnets == 1 else f"{spec.subnets} subnets"
    click.echo(f"Lab {lab.name}: {spec.backend}, pods {', '.join(spec.pod_cidrs)}, {subnets}, MTU {spec.mtu}\n")
    rows = [
        [node.name, node.ready, ",".join(node.addresses), ",".join(node.pod_cidrs) or "-", node.link, node.agent]
        for node in found.nodes
    ]
    click.echo(table(["NODE", "STATUS", "ADDRESS", "POD CIDR", "LINK", "AGENT"], rows) if rows else "no nodes")
    click.echo()
    rows = [[one.name, one.state, str(one.restarts), one.last_exit or "-"] for one in found.control]
    click.echo(table(["CONTROL PLANE", "STATE", "RESTARTS", "LAST EXIT"], rows))
    for problem in found.problems:
        click.echo(f"\n! {problem}")
    click.echo()
    for line in statuses.next_steps(lab):
        click.echo(line)
