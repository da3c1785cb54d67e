"""``podwire agent`` and ``podwire controller``: the long-running processes."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

import click

from podwire.model import config as model
from podwire.model.config import Config

_FILE = click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False),
    default="/etc/podwire/config.yaml",
    show_default=True,
    help="Configuration file.",
)


def load(file: str) -> Config:
    """Read and validate *file*, and set logging up as it says."""
    try:
        text = Path(file).read_text()
    except OSError as error:
        raise click.ClickException(
            f"{file}: {error.strerror}; `podwire config default` prints one to start from"
        ) from None
    config = model.parse(text, file)
    logging.basicConfig(
        level=config.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    return config


@click.command()
@_FILE
def agent(file: str) -> int:
    """Run the agent of this node; it ends by SIGTERM and leaves pods their network."""
    from podwire.agent.main import Agent
    from podwire.cli.wiring import answer as wiring

    config = load(file)

    async def run() -> str:
        made = Agent(config, answers={("GET", "/v1/wiring"): wiring})
        await made.run()
        return made.failure

    failure = asyncio.run(run())
    if failure:
        click.echo(f"podwire agent: {failure}", err=True)
        return 1
    return 0


@click.command()
@_FILE
def controller(file: str) -> int:
    """Run the cluster's controller: node CIDRs. Several may run; a Lease elects the one that works."""
    from podwire.cluster import kubeconfig
    from podwire.cluster.client import Client
    from podwire.controller.kube import KubeApi
    from podwire.controller.main import run

    config = load(file)

    async def work() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with Client(kubeconfig.load(config.kubeconfig), user_agent="podwire-controller") as client:
            await run(config, KubeApi(client, time.time), stop=stop)

    asyncio.run(work())
    return 0
