"""``podwire verify``: arguments in, a report out. Exit status 0: proven; 1: broken; 2: it could not be carried out."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from pathlib import Path

import click

from podwire.model.errors import InputError
from podwire.verify.plan import Sample
from podwire.verify.proof import Proof
from podwire.verify.transport import Progress

_LAB_PARENT = "/run/podwire-lab"
_IMAGE = "podwire/probe"


@click.command("verify")
@click.option(
    "--kubeconfig", metavar="FILE", help="The cluster. Default: --lab's, else $KUBECONFIG, else ~/.kube/config."
)
@click.option("--lab", metavar="NAME", help="A lab on this machine. Default: the lab “default”, if it is up.")
@click.option("--evidence", metavar="DIR", type=click.Path(file_okay=False), help="Save the captures there, as pcap.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "junit"]), default="text", show_default=True)
@click.option(
    "--sample", default=50, show_default=True, type=click.IntRange(2, 1000), metavar="NODES",
    help="Above so many nodes, try a sample of about as many pairs as so many nodes have.",
)  # fmt: skip
@click.option("--seed", default=1, show_default=True, help="Draws the sample: the same seed, the same pairs.")
@click.option(
    "--timeout", default=2.0, show_default=True, type=click.FloatRange(0.1, 60), metavar="SECONDS",
    help="How long one flow may take, with all its attempts.",
)  # fmt: skip
@click.option(
    "--patience", default=60.0, show_default=True, type=click.FloatRange(1, 3600), metavar="SECONDS",
    help="How long the probes' pods may take to start.",
)  # fmt: skip
@click.option("--image", default=_IMAGE, show_default=True, help="The image that holds the probe.")
@click.option("--command-prefix", metavar="COMMAND", default="", help="What starts the probe in another image.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def verify_command(
    kubeconfig: str | None,
    lab: str | None,
    evidence: str | None,
    output: str,
    sample: int,
    seed: int,
    timeout: float,
    patience: float,
    image: str,
    command_prefix: str,
    quiet: bool,
) -> int:
    """Prove that this cluster's network keeps the three guarantees, or name what is broken.

    Starts probe pods on every node, sends TCP, UDP and ICMP between all pairs, small and full-size, and compares what
    was sent, what arrived and what was captured at both ends. Works on any cluster's network; removes what it started.
    """
    path = find_kubeconfig(kubeconfig, lab)
    from podwire.cluster import kubeconfig as kubeconfigs
    from podwire.verify.run import Options, verify
    from podwire.verify.transport_k8s import KubernetesTransport

    options = Options(Sample(sample, seed), timeout, Path(evidence) if evidence else None)

    async def prove() -> Proof:
        transport = KubernetesTransport(
            kubeconfigs.load(path), image=image, prefix=shlex.split(command_prefix), patience=patience
        )
        task = asyncio.ensure_future(verify(transport, options, _progress(quiet)))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await task

    try:
        proof = asyncio.run(prove())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        _clear_progress(quiet)
    _print(proof, output)
    return proof.exit_status


def find_kubeconfig(kubeconfig: str | None, lab: str | None) -> str:
    """The kubeconfig that the options mean; InputError when there is none to be found."""
    if kubeconfig and lab:
        raise InputError("--lab", lab, "is given beside --kubeconfig", remedy="give one of the two")
    if kubeconfig:
        return kubeconfig
    parent = Path(os.environ.get("PODWIRE_LAB_DIR") or _LAB_PARENT)
    if lab or not os.environ.get("KUBECONFIG"):
        path = parent / (lab or "default") / "kubeconfig"
        if path.exists():
            return str(path)
        if lab:
            raise InputError("--lab", lab, "is not up", remedy=f"podwire lab up --name {lab}, or see podwire lab list")
    if found := os.environ.get("KUBECONFIG", "").partition(":")[0]:
        return found
    usual = Path("~/.kube/config").expanduser()
    if usual.exists():
        return str(usual)
    raise InputError(
        "--kubeconfig", None, "is not given, and there is neither a lab nor ~/.kube/config",
        remedy="start a lab with podwire lab up, or give --kubeconfig FILE",
    )  # fmt: skip


def _progress(quiet: bool) -> Progress:
    """Progress on stderr: one line that changes on a terminal, a line per step elsewhere."""
    if quiet:
        return lambda _: None
    if sys.stderr.isatty():
        return lambda phrase: print(f"\r\033[K{phrase} …", end="", file=sys.stderr, flush=True)
    return lambda phrase: print(f"verify: {phrase}", file=sys.stderr, flush=True)


def _clear_progress(quiet: bool) -> None:
    if not quiet and sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _print(proof: Proof, output: str) -> None:
    from podwire.verify.report import machine, text

    if output == "json":
        print(machine.to_json(proof))
    elif output == "junit":
        print(machine.to_junit(proof))
    else:
        print(text.render(proof, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
