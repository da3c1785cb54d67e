"""``python -m podwire.lab.kubelet --config FILE``: the kubelet of one node."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from podwire.cluster import kubeconfig
from podwire.cluster.client import Client
from podwire.lab.kubelet import config as configuration
from podwire.lab.kubelet.cni_runtime import CniRuntime
from podwire.lab.kubelet.config import KubeletConfig
from podwire.lab.kubelet.events import Recorder
from podwire.lab.kubelet.kit import Kit
from podwire.lab.kubelet.node import NodeKeeper
from podwire.lab.kubelet.pods import Pods
from podwire.lab.kubelet.probes import Prober
from podwire.lab.kubelet.server import Server
from podwire.model.errors import PodwireError


async def serve(config: KubeletConfig) -> None:
    """Be the kubelet until cancelled; pods outlive it."""
    access = kubeconfig.load(config.kubeconfig)
    cni = CniRuntime(Path(config.conf_dir), [Path(path) for path in config.bin_dirs], Path(config.cache_dir))
    async with Client(access, user_agent="podwire-lab-kubelet") as client:
        recorder = Recorder(client, "kubelet", config.node_name)
        keeper = NodeKeeper(config, client, cni, recorder)
        kit = Kit(config, client, cni, recorder, Prober(), lambda: keeper.problem)
        pods = Pods(kit)
        server = Server(config, pods)
        await server.start()
        try:
            async with asyncio.TaskGroup() as group:
                for work in (recorder.run(), keeper.run(), pods.run()):
                    group.create_task(work)
        finally:
            await server.stop()
            await kit.prober.close()


async def _run(config: KubeletConfig) -> None:
    task = asyncio.create_task(serve(config))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        logging.info("told to stop; the pods stay")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="podwire-lab-kubelet", description="The kubelet of a lab's node.")
    parser.add_argument("--config", required=True, type=Path, help="YAML; see podwire.lab.kubelet.config")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        config = configuration.load(arguments.config)
        asyncio.run(_run(config))
    except PodwireError as error:
        raise SystemExit(f"podwire-lab-kubelet: {error}") from None


if __name__ == "__main__":
    main()
