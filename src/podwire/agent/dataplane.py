"""The loop that keeps this node's kernel as the plan says.

Two ways in, one way out. *Changes* (a node came, the underlay moved, an attachment was made) go through the incremental
plan, and the delta that it answers is applied. A *resync* observes the kernel, compares it with the whole Intent and applies
the difference: at the start, every ``resyncSeconds``, soon after the kernel reported that something moved, and after a
refusal, with a back-off. Both run on one task, so the kernel has one writer.

A resync observes first and reads the Intent afterwards: what a verb added meanwhile is then wanted, and what it removed is
not. What belongs to attachments that a verb is working on is left alone.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping

from podwire.agent.metrics import Metrics
from podwire.model.attachment import Attachment, AttachmentKey
from podwire.model.cluster import AttachmentChanged, Change
from podwire.model.intent import Delta, Failure, Intent, Wanted
from podwire.model.kernel import Key, Neighbour, Route, Value
from podwire.plan import State, step
from podwire.plan.result import Finding
from podwire.reconcile.delta import diff
from podwire.reconcile.driver import KernelDriver
from podwire.reconcile.retry import Backoff

_LOG = logging.getLogger(__name__)
_QUIET = 0.2
"""Seconds that a stir in the kernel is given to settle before it is looked at."""
_SPACING = 1.0
"""Seconds at least between two resyncs that nobody asked for."""


class Dataplane:
    """Owns the plan's state and applies it. Every method is called on the event loop's thread."""

    def __init__(
        self,
        kernel: KernelDriver,
        state: State,
        *,
        metrics: Metrics,
        resync_seconds: float,
        busy: Callable[[], Collection[AttachmentKey]] = tuple,
        attachments: Callable[[], Mapping[AttachmentKey, Attachment]] = dict,
    ) -> None:
        """*busy* and *attachments* tell which attachments a verb is working on, and which exist."""
        self._kernel = kernel
        self._state = state
        self._metrics = metrics
        self._every = resync_seconds
        self._busy = busy
        self._attachments = attachments
        self._pending: list[Change] = []
        self._wake = asyncio.Event()
        self._resync_at = 0.0
        self._retry = Backoff()
        self._refused: dict[Key, Failure] = {}
        self._waiters: list[asyncio.Future[dict[str, int]]] = []
        self._first = True
        self.in_sync = asyncio.Event()
        self.last_resync = 0.0

    @property
    def intent(self) -> Intent:
        """What the plan wants, after all changes so far."""
        self._advance()
        return self._state.intent

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """Peers that pods here will not reach, and why."""
        return self._state.refusals

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What is carried out but looks wrong."""
        return self._state.warnings

    @property
    def kernel_refusals(self) -> list[Failure]:
        """What the kernel refused at the last attempt."""
        return list(self._refused.values())

    def submit(self, changes: Iterable[Change]) -> None:
        """Take *changes* in; they are carried out soon, in order, many at once when many come."""
        self._pending.extend(changes)
        self._wake.set()

    def stirred(self) -> None:
        """Something in the kernel moved: look soon, but not all the time."""
        self._due(max(time.monotonic() + _QUIET, self.last_resync + _SPACING))

    async def resync(self) -> dict[str, int]:
        """Compare with the kernel now; how many objects of each kind had to be healed."""
        waiter: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._due(0.0)
        return await waiter

    def adopt(self, attachments: Mapping[AttachmentKey, Attachment]) -> None:
        """Take in what stood before this agent's life."""
        self.submit(AttachmentChanged(key, found) for key, found in attachments.items())

    async def run(self) -> None:
        """The loop; ends by cancellation and leaves the kernel as it is."""
        while True:
            pause = max(0.0, self._resync_at - time.monotonic())
            if pause and not self._wake.is_set():
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    pass
            self._wake.clear()
            if not self._first:  # before the first comparison there is nothing that a delta could build on
                await self._apply(self._advance())
            if time.monotonic() >= self._resync_at:
                await self._resync()

    def _due(self, when: float) -> None:
        self._resync_at = min(self._resync_at, when)
        self._wake.set()

    def _advance(self) -> Delta:
        """Bring the plan up to date; the delta, without what the CNI verbs write themselves."""
        if not self._pending:
            return Delta()
        changes, self._pending = self._pending, []
        own = [change for change in changes if isinstance(change, AttachmentChanged)]
        if own:
            self._state, _ = step(self._state, own)
        others = [change for change in changes if not isinstance(change, AttachmentChanged)]
        if not others:
            return Delta()
        self._state, delta = step(self._state, others)
        return delta

    async def _apply(self, delta: Delta) -> None:
        if not delta:
            return
        began = time.monotonic()
        failures = await asyncio.to_thread(self._kernel.apply, delta)
        for element in itertools.chain((wanted.value for wanted in delta.put), delta.drop):
            self._refused.pop(element.key, None)
        _LOG.info("%d objects changed in %.1f ms", len(delta), (time.monotonic() - began) * 1e3)
        self._note(failures)

    def _note(self, failures: list[Failure]) -> None:
        """Log each refusal once, and come back to them with a back-off."""
        for failure in failures:
            kind = failure.value.kind
            self._metrics.refusals.labels(kind).inc()
            if failure != self._refused.get(failure.value.key):
                _LOG.warning("the kernel refused %s for %s: %s", failure.value, failure.cause, failure.message)
            self._refused[failure.value.key] = failure
        if failures:
            self._back_off()

    def _back_off(self) -> None:
        """Come back after a failure: soon at first, then ever later."""
        self._retry = self._retry.failed()
        self._resync_at = min(self._resync_at, time.monotonic() + self._retry.pause(random.random()))  # noqa: S311

    async def _resync(self) -> None:
        began = time.monotonic()
        waiters, self._waiters = self._waiters, []
        self._resync_at = began + self._every
        try:
            healed = await self._compare()
        except Exception as error:
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error)
            _LOG.exception("the comparison with the kernel failed; it will be tried again")
            self._back_off()
            return
        finally:
            self.last_resync = time.monotonic()
            self._metrics.resyncs.inc()
            self._metrics.resync_seconds.observe(self.last_resync - began)
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(healed)
        self._first = False
        self.in_sync.set()

    async def _compare(self) -> dict[str, int]:
        """Observe, compare, apply; what was healed, by kind (empty for the first comparison of the agent's life)."""
        observed = await asyncio.to_thread(self._kernel.observe)
        self._advance()
        wanted = Intent()
        wanted.items = dict(self._state.intent.items)
        keep = self._in_flight()
        delta = await asyncio.to_thread(diff, wanted, observed, keep=keep)
        failures = await asyncio.to_thread(self._kernel.apply, delta) if delta else []
        owed, self._refused = self._refused, {}
        if not failures:
            self._retry = self._retry.succeeded()
        self._note(failures)
        return {} if self._first else self._count_heals(delta, owed)

    def _count_heals(self, delta: Delta, owed: Collection[Key]) -> dict[str, int]:
        """Count what *delta* mended, but for what the kernel had refused before and was owed."""
        healed: dict[str, int] = {}
        for element in itertools.chain((wanted.value for wanted in delta.put), delta.drop):
            if element.key not in owed:
                healed[element.kind] = healed.get(element.kind, 0) + 1
        if not healed:
            return healed
        for kind, count in healed.items():
            self._metrics.heals.labels(kind).inc(count)
        _LOG.warning("healed what somebody changed: %s", ", ".join(f"{n} {kind}" for kind, n in healed.items()))
        for put in delta.put[:10]:
            _LOG.info("healed: put %s for %s", put.value, put.cause)
        for value in delta.drop[:10]:
            _LOG.info("healed: dropped %s", value)
        return healed

    def _in_flight(self) -> Callable[[Value], bool]:
        """Which values a resync must leave alone: those of attachments that a verb is working on."""
        busy = {key.host_ifname for key in self._busy()}
        busy |= {att.key.host_ifname for att in self._attachments().values() if att.state != "ready"}
        return lambda value: isinstance(value, Route | Neighbour) and value.dev in busy

    def describe(self) -> list[dict[str, object]]:
        """The Intent for people and programs: kind, value, cause."""
        return [
            {"kind": wanted.value.kind, "value": wanted.value, "cause": str(wanted.cause)}
            for wanted in sorted(self.intent, key=_by_kind)
        ]


def _by_kind(wanted: Wanted) -> tuple[str, str]:
    return wanted.value.kind, str(wanted.key)
