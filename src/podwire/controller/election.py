"""Electing a leader by a Lease, with the semantics of client-go's leaderelection, so that both can share one Lease.

A candidate takes the Lease when nobody holds it or when it has not seen it change for the Lease's duration, by its own
monotonic clock: clocks of different machines are never compared. The leader renews it every *retry* seconds and steps
down when it has not managed to for *renew_deadline* seconds, before anybody may take over. That bounds, but does not
rule out, two leaders at once (a process may sleep through its deadline); what the leader does must be safe even then.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

import msgspec

from podwire.controller.api import ControllerApi, LeaseRecord
from podwire.model.errors import ClusterError, Conflict, NotFound

log = logging.getLogger(__name__)
_JITTER = 1.2


class Timing(msgspec.Struct, frozen=True):
    """All in seconds; the defaults are client-go's. ``duration > renew_deadline > retry`` must hold."""

    duration: int = 15
    renew_deadline: float = 10.0
    retry: float = 2.0


class Elector:
    """One candidate for one Lease."""

    def __init__(
        self,
        api: ControllerApi,
        identity: str,
        now: Callable[[], float],
        *,
        namespace: str = "kube-system",
        name: str = "podwire-controller",
        timing: Timing | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """*identity* differs between any two processes; *now* is seconds since the epoch, for the Lease's times."""
        self._api = api
        self._identity = identity
        self._now = now
        self._namespace = namespace
        self._name = name
        self._timing = timing or Timing()
        self._rng = rng or random.Random()  # noqa: S311 (spreads retries, guards nothing)
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0
        self.leading = False

    @property
    def leader(self) -> str:
        """Who holds the Lease, as far as was seen; empty for nobody."""
        return self._seen.holder if self._seen else ""

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Be a candidate for ever; *lead* runs while the Lease is ours and is cancelled when it is not.

        What *lead* raises ends the candidacy and is raised here. When cancelled, *lead* is ended first and the Lease is
        then given up, so that the next leader need not wait for it to expire.
        """
        try:
            while True:
                await self._acquire()
                log.info("%s leads (lease %s/%s)", self._identity, self._namespace, self._name)
                self.leading = True
                try:
                    await self._lead(lead)
                finally:
                    self.leading = False
                log.warning("%s lost the lease %s/%s", self._identity, self._namespace, self._name)
        finally:
            await self._release()

    async def _acquire(self) -> None:
        while True:
            if await self._try():
                return
            await asyncio.sleep(self._timing.retry * (1 + self._rng.random() * _JITTER))

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Until the lease is lost (returns) or *lead* ends (which it should not) or fails (raises)."""
        work = asyncio.ensure_future(lead())
        renewal = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, renewal):
                task.cancel()
            await asyncio.gather(work, renewal, return_exceptions=True)
        for task in (work, renewal):
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def _renew(self) -> None:
        """Returns when the lease could not be renewed for the deadline, or is another's."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timing.renew_deadline
        while True:
            await asyncio.sleep(self._timing.retry)
            try:
                async with asyncio.timeout_at(deadline):
                    renewed_at = loop.time()
                    if await self._try():
                        deadline = renewed_at + self._timing.renew_deadline
                    elif self.leader not in ("", self._identity):
                        return
            except TimeoutError:
                return
            if loop.time() >= deadline:
                return

    async def _try(self) -> bool:
        """client-go's tryAcquireOrRenew: whether the Lease is ours now."""
        now = self._now()
        try:
            try:
                current = await self._api.get_lease(self._namespace, self._name)
            except NotFound:
                mine = LeaseRecord(self._identity, self._timing.duration, now, now)
                self._observe(await self._api.put_lease(self._namespace, self._name, mine))
                return True
            if self._seen is None or current.resource_version != self._seen.resource_version:
                self._observe(current)
            ours = current.holder == self._identity
            if current.holder and not ours and not self._expired(current):
                return False
            mine = LeaseRecord(
                holder=self._identity,
                duration=self._timing.duration,
                acquired=current.acquired if ours else now,
                renewed=now,
                transitions=current.transitions + (not ours),
                resource_version=current.resource_version,
            )
            self._observe(await self._api.put_lease(self._namespace, self._name, mine))
        except Conflict:
            return False
        except ClusterError as error:
            log.warning("the lease %s/%s cannot be taken or renewed: %s", self._namespace, self._name, error)
            return False
        return True

    def _observe(self, lease: LeaseRecord) -> None:
        self._seen, self._seen_at = lease, asyncio.get_running_loop().time()

    def _expired(self, lease: LeaseRecord) -> bool:
        return asyncio.get_running_loop().time() >= self._seen_at + lease.duration

    async def _release(self) -> None:
        """Give the Lease up if it is ours; a failure only makes the next leader wait."""
        if self._seen is None or self._seen.holder != self._identity:
            return
        given_up = msgspec.structs.replace(self._seen, holder="", duration=1, renewed=self._now())
        try:
            async with asyncio.timeout(self._timing.retry):
                self._seen = await self._api.put_lease(self._namespace, self._name, given_up)
        except (ClusterError, TimeoutError) as error:
            log.info("the lease %s/%s is left to expire: %s", self._namespace, self._name, error)
