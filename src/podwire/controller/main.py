"""The controller process: a candidate that, while it leads, runs the cluster's singletons."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
import uuid
from collections.abc import Callable

from podwire.controller.api import ControllerApi
from podwire.controller.assigner import Assigner
from podwire.controller.election import Elector, Timing
from podwire.model.config import Config


def identity() -> str:
    """Like client-go's users build it: host name, and what tells two processes on it apart."""
    return f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"


async def run(
    config: Config,
    api: ControllerApi,
    *,
    name: str = "",
    stop: asyncio.Event | None = None,
    now: Callable[[], float] = time.time,
    timing: Timing | None = None,
    rng: random.Random | None = None,
) -> None:
    """Until *stop* is set, or for ever; *name* is this candidate's identity, by default :func:`identity`.

    Ends in order: the work is cancelled, then the Lease is given up.
    """
    elector = Elector(api, name or identity(), now, timing=timing, rng=rng)

    async def lead() -> None:
        # A new one each time: what a former reign knew of the Nodes is stale.
        await Assigner(api, config).run()

    candidacy = asyncio.ensure_future(elector.run(lead))
    stopped = asyncio.ensure_future((stop or asyncio.Event()).wait())
    try:
        await asyncio.wait({candidacy, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (candidacy, stopped):
            task.cancel()
        await asyncio.gather(candidacy, stopped, return_exceptions=True)
    if not candidacy.cancelled() and (error := candidacy.exception()):
        raise error
