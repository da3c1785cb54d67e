"""``podwire wiring``: one tree of how a node or a pod is wired, as the kernel has it."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from podwire.cli.agents import ask_agents, output_option, print_encoded, target_options
from podwire.model.errors import PodwireError

if TYPE_CHECKING:
    from aiohttp import web

    from podwire.agent.control import Answer
    from podwire.agent.main import Agent
    from podwire.verify.observation import SeenNode


def answer(agent: Agent) -> Answer:
    """The handler of ``GET /v1/wiring`` of *agent*'s control API; ``?pod=NAMESPACE/NAME`` picks one pod."""
    from podwire.verify.observe import observe_node

    async def handle(request: web.Request) -> dict[str, Any]:
        wanted = request.query.get("pod", "")
        chosen = [found for found in agent.attachments.snapshot().values() if not wanted or found.owner == wanted]
        return await asyncio.to_thread(observe_node, chosen, agent.name)

    return handle


@click.command()
@click.argument("target", required=False, default="")
@target_options
@output_option
@click.option("-v", "--verbose", is_flag=True, help="Everything that was observed.")
def wiring(target: str, node: str, lab: str, run_dir: str, output: str, verbose: bool) -> int:
    """Show how a node or a pod is wired, from the kernel: TARGET is a node, a POD or NAMESPACE/POD; default: every node."""
    answers = ask_agents("/v1/wiring", node=node, lab=lab, run_dir=run_dir)
    if target in answers:
        answers, target = {target: answers[target]}, ""
    if output:
        print_encoded(answers, output)
        return 0
    return show(answers, target, verbose)


def show(answers: dict[str, Any], pod: str = "", verbose: bool = False) -> int:
    """Print the trees; 1 if an agent did not answer. PodwireError when *pod* is on none of the nodes."""
    from podwire.verify import wiring_tree

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    status = 0
    trees = []
    for name, observed in answers.items():
        if "error" in observed:
            click.echo(f"{name}: {observed['error']}", err=True)
            status = 1
            continue
        seen = wiring_tree.read(observed)
        if not pod:
            trees.append(wiring_tree.node_tree(seen, verbose))
        elif owner := _owner(seen, pod):
            trees.append(wiring_tree.pod_tree(seen, owner, verbose))
    if not trees and not status:
        raise PodwireError(
            f"there is no node or pod {pod} here" if pod else "there is nothing to show",
            remedy="`podwire ip -a` lists the pods that have an address",
        )
    click.echo("\n\n".join(wiring_tree.render(tree, colour) for tree in trees))
    return status


def _owner(node: SeenNode, pod: str) -> str:
    """The name by which *node* knows *pod*, which may lack its namespace; "" if it is not there."""
    owners = [found.pod for found in node.attachments]
    return next((owner for owner in owners if owner == pod or owner.partition("/")[2] == pod), "")
