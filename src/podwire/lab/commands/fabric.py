"""``lab fabric loss|mtu|block-udp|unblock-udp|show``."""

from __future__ import annotations

import click

from podwire.lab.cluster import Lab
from podwire.lab.commands.common import headline, name_option, need_root, table

_SUBNET = click.option("--subnet", type=int, default=None, help="Which subnet; default: all.")


@click.group()
def fabric() -> None:
    """Lose frames, block ports, change the MTU between nodes."""
    need_root()


@fabric.command()
@click.argument("percent", type=float)
@_SUBNET
@name_option
def loss(percent: float, subnet: int | None, name: str) -> None:
    """Lose PERCENT of all frames at random; 0 ends it."""
    Lab.load(name).fabric.set_loss(percent, subnet)
    headline(f"the switches lose {percent:g} % of all frames")


@fabric.command()
@click.argument("size", type=int, metavar="BYTES")
@_SUBNET
@name_option
def mtu(size: int, subnet: int | None, name: str) -> None:
    """Give the nodes' links another MTU, live."""
    Lab.load(name).fabric.set_mtu(size, subnet)
    headline(f"the links carry {size} bytes")


@fabric.command("block-udp")
@click.argument("port", type=int)
@_SUBNET
@name_option
def block_udp(port: int, subnet: int | None, name: str) -> None:
    """Drop UDP to PORT between hosts, as a firewall would (4789 is VXLAN)."""
    Lab.load(name).fabric.block_udp(port, subnet)
    headline(f"UDP port {port} is blocked; podwire lab fabric unblock-udp {port} ends it")


@fabric.command("unblock-udp")
@click.argument("port", type=int)
@_SUBNET
@name_option
def unblock_udp(port: int, subnet: int | None, name: str) -> None:
    """End block-udp."""
    Lab.load(name).fabric.unblock_udp(port, subnet)
    headline(f"UDP port {port} is open")


@fabric.command()
@name_option
def show(name: str) -> None:
    """Show how each subnet behaves."""
    lab = Lab.load(name)
    rows = []
    for segment in range(1, lab.spec.subnets + 1):
        now = lab.fabric.conditions(segment)
        blocked = ",".join(str(port) for port in now.blocked_udp) or "-"
        rows.append([str(segment), str(now.mtu or lab.spec.mtu), f"{now.loss:g} %", blocked])
    click.echo(table(["SUBNET", "MTU", "LOSS", "BLOCKED UDP"], rows))
