"""``podwire ip``: addresses of a node, or of every node of a lab."""

from __future__ import annotations

from typing import Any

import click

from podwire.cli.agents import ask_agents, output_option, print_encoded, target_options


@click.command()
@target_options
@output_option
@click.option("-a", "--attachments", is_flag=True, help="List every attachment, not just the pools.")
def ip(node: str, lab: str, run_dir: str, output: str, attachments: bool) -> int:
    """Show addresses: in use, free, cooling, forecast; check the invariant."""
    answers = ask_agents("/v1/ip", node=node, lab=lab, run_dir=run_dir)
    if output:
        print_encoded(answers, output)
    else:
        _show(answers, attachments)
    return 1 if any(answer.get("violations") for answer in answers.values()) else 0


def _show(answers: dict[str, Any], attachments: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("NODE", "POOL"):
        table.add_column(name)
    for name in ("USED", "FREE", "COOLING", "RESERVED", "SIZE"):
        table.add_column(name, justify="right")
    table.add_column("FORECAST")
    for node, answer in answers.items():
        if "error" in answer:
            table.add_row(node, answer["error"])
            continue
        for pool in answer["pools"]:
            cooling = pool["cooling"] + pool["quarantined"]
            numbers = (pool["used"], pool["free"], cooling, pool["reserved"], pool["size"])
            table.add_row(node, pool["pool"], *map(str, numbers), pool["forecast"] or "steady")
    console.print(table)
    violations = [(node, text) for node, answer in answers.items() for text in answer.get("violations", ())]
    if attachments:
        console.print()
        console.print(_attachments(answers))
    console.print()
    for node, text in violations:
        console.print(f"[red]violated[/] on {node}: {text}", highlight=False)
    if not violations and not any("error" in answer for answer in answers.values()):
        console.print("allocations, routes and links agree on every node asked", highlight=False)


def _attachments(answers: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("NODE", "ADDRESS", "POD", "INTERFACE", "HOST END", "STATE"):
        table.add_column(name)
    for node, answer in answers.items():
        for found in answer.get("attachments", ()):
            addresses = ", ".join(found["ips"])
            owner = found["pod"] or found["container"][:13]
            table.add_row(node, addresses, owner, found["interface"], found["hostInterface"], found["state"])
    return table
