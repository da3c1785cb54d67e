"""Wait for a lab to be as it should, and say why it is not: a program that keeps dying ends the wait at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from podwire.cluster.client import Client
from podwire.cluster.kubeconfig import from_file
from podwire.lab.cluster import Lab
from podwire.lab.sandbox.host import Sandbox
from podwire.model.errors import ClusterError, LabError

CRASH_LOOP = 4
"""Deaths of one program within one wait that mean that it will not come up by itself."""

_POLL = 0.05

Check = Callable[[Client], Awaitable[str]]
"""Asks the API server; answers what is still missing, "" when nothing is. ClusterError counts as missing."""


def wait(lab: Lab, hosts: Sequence[Sandbox], check: Check, timeout: float) -> None:
    """Poll *check* until nothing is missing.

    Raises LabError with the tail of a log when a program of *hosts* keeps dying, or with what is missing and the tails
    of the logs after *timeout* seconds.
    """
    asyncio.run(_wait(lab, hosts, check, timeout))


async def _wait(lab: Lab, hosts: Sequence[Sandbox], check: Check, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    before = _deaths(hosts)
    async with Client(from_file(lab.kubeconfig)) as client:
        while True:
            try:
                missing = await check(client)
            except ClusterError as error:
                missing = str(error)
            if not missing:
                return
            for (host, service), deaths in _deaths(hosts).items():
                if deaths - before.get((host, service), 0) >= CRASH_LOOP:
                    raise LabError(_obituary(hosts, host, service))
            if time.monotonic() > deadline:
                raise LabError(
                    f"not ready after {timeout:g} s: {missing}", remedy=f"the logs are in {lab.directory.logs}"
                )
            await asyncio.sleep(_POLL)


def _deaths(hosts: Sequence[Sandbox]) -> dict[tuple[str, str], int]:
    return {(host.name, name): one.restarts for host in hosts for name, one in host.services().items()}


def _obituary(hosts: Sequence[Sandbox], name: str, service: str) -> str:
    host = next(one for one in hosts if one.name == name)
    status = host.services()[service]
    return f"{service} on {name} {status.last_exit} {status.restarts} times; the end of its log:\n" + host.log_tail(
        service
    )
