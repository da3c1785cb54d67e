"""``python -m podwire.lab.manager --kubeconfig FILE``: run until SIGTERM.

One loop: whenever something changed, and once a second for what time alone changes, every controller looks at the whole of
its world and does what is missing. A lab is small enough that this costs nothing, and then nothing can be missed.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from datetime import UTC, datetime

from podwire.cluster import kubeconfig
from podwire.cluster.client import Client
from podwire.cluster.resources import SERVICE_ACCOUNTS
from podwire.lab.manager import nodes, scheduling, workloads
from podwire.lab.manager.world import World
from podwire.model.errors import PodwireError

_LOG = logging.getLogger(__name__)
_TICK = 1.0
_SETTLE = 0.01
"""Seconds that a burst of changes is given to become one look."""


async def manage(client: Client) -> None:
    """Look and act, for ever."""
    changed = asyncio.Event()
    world = World(client, changed.set)
    following = asyncio.create_task(world.run())
    try:
        await world.synced()
        while not following.done():
            await asyncio.sleep(_SETTLE)
            changed.clear()
            await look(world)
            try:
                async with asyncio.timeout(_TICK):
                    await changed.wait()
            except TimeoutError:
                pass
        await following
    finally:
        following.cancel()


async def look(world: World) -> None:
    """One pass of every controller."""
    now = time.time()
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    await nodes.lifecycle(world, now, stamp)
    await _accounts(world)
    await workloads.deployments(world, stamp)
    await workloads.replica_sets(world)
    await workloads.daemon_sets(world)
    await _schedule(world)
    await nodes.evictions(world, now)


async def _accounts(world: World) -> None:
    """Each namespace has a ServiceAccount ``default``."""
    for _, name in list(world.namespaces.objects):
        if (name, "default") not in world.accounts.objects and not world.namespaces.objects[
            "", name
        ].metadata.deletion_timestamp:
            body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            await world.create(SERVICE_ACCOUNTS, body, name)


async def _schedule(world: World) -> None:
    """Bind what waits for a node; say at the pod why none fits."""
    waiting = [
        pod for pod in world.pods.objects.values()
        if not pod.spec.node_name and pod.active and not pod.spec.scheduling_gates
        and pod.spec.scheduler_name == "default-scheduler"
    ]  # fmt: skip
    for pod in sorted(waiting, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name)):
        verdict = scheduling.choose(pod, world.nodes.objects.values(), scheduling.loads(world.pods.objects.values()))
        if verdict.node:
            await world.bind(pod, verdict.node)
            continue
        before = pod.status.condition("PodScheduled")
        if before is None or before.message != verdict.why:
            condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": verdict.why}
            body = {"status": {"phase": "Pending", "conditions": [condition]}}
            await world.patch(world.pods.resource, pod.metadata.key, body, subresource="status")


async def _run(path: str) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Client(kubeconfig.load(path), user_agent="podwire-lab-manager") as client:
        managing = asyncio.create_task(manage(client))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({managing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if managing.done():
            managing.result()
            return 1
        managing.cancel()
        await asyncio.gather(managing, return_exceptions=True)
    return 0


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="podwire.lab.manager", description="The lab's scheduler and controllers.")
    parser.add_argument("--kubeconfig", required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return asyncio.run(_run(arguments.kubeconfig))
    except PodwireError as error:
        _LOG.error("%s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
