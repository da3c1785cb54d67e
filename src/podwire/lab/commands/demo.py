"""``lab demo``: a lab, pods from a real manifest, one pod's wiring, the proof, and what to try next."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import click

from podwire.cluster.client import Client, Object
from podwire.cluster.kubeconfig import from_file
from podwire.cluster.manifests import Applier, parse
from podwire.cluster.resources import PODS
from podwire.lab import lifecycle
from podwire.lab.cluster import Lab
from podwire.lab.commands.common import headline, interruptible, name_option, need_root, say, table
from podwire.lab.kubernetes import Kubernetes
from podwire.lab.spec import LabSpec
from podwire.lab.state import lab_names
from podwire.model.errors import LabError

_NAMESPACE = "demo"
_PATIENCE = 60.0


@click.command("demo")
@name_option
@click.option("--nodes", default=3, show_default=True, help="How many nodes.")
@click.option(
    "--backend", type=click.Choice(["vxlan", "host-gw"]), default="vxlan", show_default=True, help="How to route."
)
def demo(name: str, nodes: int, backend: Literal["vxlan", "host-gw"]) -> int:
    """A lab, pods from a manifest, one pod's wiring, and the three guarantees proven."""
    need_root()
    began = time.monotonic()
    if name in lab_names():
        lab = Lab.load(name)
        say(f"using the lab {name!r}, which is up")
    else:
        with interruptible():
            lab = lifecycle.up(LabSpec(name=name, nodes=nodes, backend=backend), Kubernetes(), say)
    pods = asyncio.run(_pods(lab))
    headline("\nThe pods")
    rows = [_row(pod) for pod in sorted(pods, key=lambda pod: pod["metadata"]["name"])]
    click.echo(table(["NAME", "STATUS", "IP", "NODE"], rows))
    headline("\nHow one of them is wired")
    _wiring(lab, next(pod for pod in pods if pod["metadata"]["name"] == "shell"))
    headline("\nThe proof")
    status = _verify(lab)
    flag = "" if name == "default" else f" --name {name}"
    headline(f"\nDone in {time.monotonic() - began:.1f} s. Try next")
    for line in (
        f"podwire lab exec{flag} -n demo shell -- ip route",
        f"podwire lab node cut{flag} node2      # pull a cable; then: podwire verify",
        f"podwire wiring{' --lab ' + name if flag else ''} node1",
        f"export KUBECONFIG={lab.kubeconfig}   # kubectl works",
        f"podwire lab down{flag}",
    ):
        click.echo(f"  {line}")
    return status


async def _pods(lab: Lab) -> list[Object]:
    """Apply the manifest, wait until its pods are ready; the pods."""
    source = resources.files("podwire.lab") / "examples" / "demo.yaml"
    async with Client(from_file(lab.kubeconfig)) as client:
        await Applier(client).apply(parse(source.read_text(), str(source)), told=lambda what, how: say(f"{what} {how}"))
        expected = len(lab.nodes) + 1
        deadline = time.monotonic() + _PATIENCE
        while True:
            pods = (await client.list(PODS, _NAMESPACE)).items
            ready = [pod for pod in pods if _ready(pod)]
            if len(ready) >= expected:
                return ready
            if time.monotonic() > deadline:
                late = [f"{pod['metadata']['name']} is {_reason(pod)}" for pod in pods if not _ready(pod)]
                problem = (
                    f"after {_PATIENCE:.0f} s {len(ready)} of {expected} pods are ready: {'; '.join(late) or 'no pods'}"
                )
                raise LabError(problem, remedy="see `podwire lab status`")
            await asyncio.sleep(0.1)


def _ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _reason(pod: Object) -> str:
    status = pod.get("status", {})
    for container in status.get("containerStatuses") or []:
        if waiting := container.get("state", {}).get("waiting"):
            return f"{waiting.get('reason', 'waiting')}: {waiting.get('message', '')}".strip(": ")
    return str(status.get("phase", "Pending"))


def _row(pod: Object) -> list[str]:
    return [pod["metadata"]["name"], "Ready", pod["status"].get("podIP", "-"), pod["spec"].get("nodeName", "-")]


def _wiring(lab: Lab, pod: Object) -> None:
    from podwire.agent.ask import ask
    from podwire.verify import wiring_tree

    node = lab.node(pod["spec"]["nodeName"])
    observed: dict[str, Any] = ask(node.path("/run/podwire/control.sock"), "/v1/wiring")
    tree = wiring_tree.pod_tree(wiring_tree.read(observed), f"{_NAMESPACE}/{pod['metadata']['name']}")
    click.echo(wiring_tree.render(tree, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))


def _verify(lab: Lab) -> int:
    from podwire.verify.command import verify_command

    return int(verify_command.main(["--kubeconfig", str(Path(lab.kubeconfig)), "--quiet"], standalone_mode=False) or 0)
