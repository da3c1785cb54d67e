"""What the agent tells on its control socket: status, addresses, intent."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from podwire import __version__
from podwire.agent.metrics import Metrics
from podwire.agent.world import collisions, gather
from podwire.ipam.forecast import History, forecast
from podwire.ipam.invariants import check
from podwire.model.kernel import KINDS

if TYPE_CHECKING:
    from podwire.agent.main import Agent


class Report:
    """Answers of the control API, from the agent's parts."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._started = time.time()
        self._history: dict[str, History] = {}

    async def status(self, _: web.Request) -> dict[str, Any]:
        """What the agent is doing, and why it is not ready."""
        agent = self._agent
        member, plane = agent.membership, agent.dataplane
        me = member.me
        reason = agent.not_ready()
        return {
            "node": agent.name,
            "version": __version__,
            "started": self._started,
            "ready": not reason,
            "reason": reason,
            "fromMemory": member.from_memory,
            "apiServer": member.api_trouble or "answers",
            "backend": agent.config.backend.type,
            "addresses": me.addresses if me else (),
            "podCIDRs": me.pod_cidrs if me else (),
            "mtu": member.mtu,
            "underlays": member.underlays,
            "peers": max(0, len(member.nodes) - 1),
            "attachments": len(agent.attachments.snapshot()),
            "planElements": len(plane.intent),
            "refusals": [str(finding) for finding in plane.refusals],
            "warnings": [str(finding) for finding in plane.warnings],
            "collisions": [
                str(finding) for finding in await asyncio.to_thread(collisions, agent.config, member.underlays)
            ],
            "kernelRefusals": [failure.message for failure in plane.kernel_refusals],
        }

    async def addresses(self, _: web.Request) -> dict[str, Any]:
        """Pools with a forecast each, and every attachment."""
        agent = self._agent
        now = time.time()
        pools = []
        for usage in agent.attachments.usage():
            history = self._history.setdefault(str(usage.pool), History())
            history.add(now, usage.used)
            ahead = forecast(history.samples, usage.capacity)
            pools.append(
                {
                    "pool": usage.pool,
                    "size": usage.size,
                    "used": usage.used,
                    "free": usage.free,
                    "cooling": usage.cooling,
                    "quarantined": usage.quarantined,
                    "reserved": usage.reserved,
                    "holders": usage.holders,
                    "nextFreeSeconds": usage.next_free,
                    "forecast": str(ahead) if ahead else "",
                }
            )
        attachments = [
            {
                "pod": str(found.pod or ""),
                "container": found.key.container_id,
                "interface": found.key.ifname,
                "ips": found.ips,
                "hostInterface": found.key.host_ifname,
                "mac": found.mac,
                "state": found.state,
                "since": found.created_at,
            }
            for found in agent.attachments.snapshot().values()
        ]
        return {"node": agent.name, "pools": pools, "attachments": attachments, "violations": await self.violations()}

    async def violations(self) -> list[str]:
        """Where allocations, pods, routes and namespaces disagree, attachments that a verb works on aside."""
        agent = self._agent
        pods = agent.pods.pods.values() if agent.pods.synced else None
        before = agent.attachments.snapshot()
        world = await asyncio.to_thread(gather, agent.kernel, agent.wirer, before, pods)
        after = agent.attachments.snapshot()
        moving = {key.host_ifname for key in agent.attachments.busy | (before.keys() ^ after.keys())}
        steady = {key: found for key, found in before.items() if after.get(key) == found}
        found = [each for each in check(steady, world) if not moving & {each.subject, *each.detail.split()}]
        agent.metrics.violations.set(len(found))
        return [str(each) for each in found]

    def refresh(self, metrics: Metrics) -> None:
        """Set the gauges to how things are now."""
        agent = self._agent
        for usage in agent.attachments.usage():
            for state in ("used", "free", "cooling", "quarantined", "reserved"):
                metrics.addresses.labels(str(usage.pool), state).set(getattr(usage, state))
        metrics.attachments.set(len(agent.attachments.snapshot()))
        peers, refused = max(0, len(agent.membership.nodes) - 1), len({f.about for f in agent.dataplane.refusals})
        metrics.peers.labels("routed").set(peers - refused)
        metrics.peers.labels("refused").set(refused)
        for kind in KINDS:
            metrics.elements.labels(kind.kind).set(len(agent.dataplane.intent.of_kind(kind.kind)))
        agent.not_ready()

    async def intent(self, _: web.Request) -> list[dict[str, object]]:
        """What the plan wants, with causes."""
        return self._agent.dataplane.describe()

    async def resync(self, _: web.Request) -> dict[str, Any]:
        """Compare with the kernel now."""
        return {"healed": await self._agent.dataplane.resync()}
