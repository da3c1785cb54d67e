"""Carry a proof out: start probes, try the plan's flows, gather the evidence, judge, look closer, give verdicts."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from podwire.model.errors import VerifyError
from podwire.verify import checks, diagnose, follow_up
from podwire.verify.cast import Cast, by_name, gather, understood
from podwire.verify.payload import SMALL
from podwire.verify.plan import Sample, plan
from podwire.verify.proof import Proof, verdicts
from podwire.verify.transport import Progress, Transport
from podwire.verify.values import (
    Aftermath,
    Check,
    Finding,
    Flow,
    Judged,
    Placed,
    Report,
    Seat,
    Topology,
)
from podwire.verify.witnesses import judge_all

_PER_SENDER = 8
"""Flows under way from one probe; more would only queue in its threads."""
_AT_ONCE = 256


class Options(msgspec.Struct, frozen=True):
    """*timeout* is of one flow, all its attempts, in seconds; *evidence* a directory that gets the captures."""

    sample: Sample = Sample()
    timeout: float = 2.0
    evidence: Path | None = None


def nonces() -> Iterator[str]:
    """Nonces that nobody else on this network has."""
    while True:
        yield secrets.token_hex(8)


async def verify(transport: Transport, options: Options, progress: Progress) -> Proof:
    """Prove, or find what is broken. Whatever happens, everything that was started is removed again.

    Raises VerifyError when not even an attempt can be made.
    """
    cast = Cast(transport)
    try:
        return await _verify(transport, cast, options, progress)
    finally:
        await asyncio.shield(_end(transport, cast, progress))


async def _end(transport: Transport, cast: Cast, progress: Progress) -> None:
    progress("cleaning up")
    await cast.close()
    await transport.close()


async def _verify(transport: Transport, cast: Cast, options: Options, progress: Progress) -> Proof:
    seats, not_started = await transport.start(progress)
    started = time.monotonic()
    topology = await transport.topology()
    progress(f"opening {len(seats)} probes")
    await cast.open(seats, topology)
    failures = (*not_started, *cast.failures)
    placed = by_name(cast.placed, seats)
    if not any(each.ports and not each.seat.host for each in placed):
        reasons = "; ".join(f"{each.pod}: {each.reason}" for each in failures[:3]) or "the cluster has no node"
        raise VerifyError(
            f"no probe could be started ({reasons})", remedy="see that pods can start at all, then try again"
        )
    fresh = nonces()
    planned = plan(placed, checks.live_pods(topology), fresh, options.sample)
    progress(f"trying {len(planned.flows)} flows: {planned.coverage}")
    reports, sharing = await asyncio.gather(
        _send_all(cast, planned.flows, options.timeout), _containers(cast, seats, fresh, options.timeout)
    )
    progress("gathering the evidence")
    judged, blind = await judge_all(cast, planned.flows, placed, reports)
    judged = await _without_departed(transport, judged)
    blind += [Check(2, "capture", seat, None, f"no capture in {seat}: {why}") for seat, why in cast.blind.items()]
    found = [*checks.address_checks(topology, placed), *sharing, *blind]
    if not all(each.ok for each in judged):
        progress("looking closer at what failed")
    aftermath = await follow_up.look_closer(cast, judged, options.timeout, fresh)
    saved: list[Path] = []
    if options.evidence is not None:
        progress(f"saving the captures to {options.evidence}")
        await asyncio.to_thread(options.evidence.mkdir, 0o700, True, True)
        saved = await cast.save(options.evidence)
    findings = _findings(judged, found, topology, placed, aftermath)
    stuck = diagnose.not_started(failures, topology)
    return Proof(
        nodes=tuple(sorted(topology.nodes)),
        coverage=planned.coverage,
        judged=tuple(judged),
        checks=tuple(found),
        findings=(*stuck, *findings),
        verdicts=verdicts(judged, found, stuck, planned.coverage),
        seconds=time.monotonic() - started,
        captures=tuple(str(path) for path in saved),
    )


def _findings(
    judged: Sequence[Judged], found: Sequence[Check], topology: Topology, placed: Sequence[Placed], aftermath: Aftermath
) -> list[Finding]:
    twice = checks.duplicates(topology, placed)
    return [*diagnose.diagnose(judged, twice.items(), topology, aftermath), *diagnose.broken_checks(found)]


async def _without_departed(transport: Transport, judged: list[Judged]) -> list[Judged]:
    """Without failed flows to pods that were deleted meanwhile: other people's pods come and go during a proof."""
    if all(each.ok or each.flow.kind != "node" for each in judged):
        return judged
    now = {f"{pod.namespace}/{pod.name}": pod for pod in checks.live_pods(await transport.topology())}

    def stands(each: Judged) -> bool:
        pod = now.get(each.flow.target.partition(":")[0])
        return pod is not None and each.flow.dst in map(str, pod.ips)

    return [each for each in judged if each.ok or each.flow.kind != "node" or stands(each)]


async def _send_all(cast: Cast, flows: Sequence[Flow], timeout: float) -> list[Report]:
    """Try all flows, several at once from each sender."""
    gates = {flow.source: asyncio.Semaphore(_PER_SENDER) for flow in flows}
    overall = asyncio.Semaphore(_AT_ONCE)

    async def one(flow: Flow) -> Report:
        async with gates[flow.source], overall:
            try:
                return understood(await follow_up.send(cast, flow, timeout), Report)
            except VerifyError as error:
                return Report(delivered=False, problem=str(error))

    return await gather(one(flow) for flow in flows)


async def _containers(cast: Cast, seats: Sequence[Seat], fresh: Iterator[str], timeout: float) -> list[Check]:
    """In each pod with two containers: localhost is shared, and so are its ports."""
    by_pod: dict[str, list[Placed]] = {}
    for each in by_name(cast.placed, seats):
        if not each.seat.host:
            by_pod.setdefault(each.seat.pod, []).append(each)

    async def check(first: Placed, second: Placed) -> list[Check]:
        try:
            holder = cast.channels[first.seat.name]
            port = int((await holder.ask("listen", proto="tcp", address="127.0.0.1"))["port"])
            flow = Flow(
                next(fresh), "self", "tcp", "small", second.seat.name, first.seat.name, first.seat.node,
                first.seat.node, "", "127.0.0.1", port, SMALL, 0,
            )  # fmt: skip
            report = understood(await follow_up.send(cast, flow, timeout), Report)
            taken = first.ports.get(("tcp", 4), port)
            answer = await cast.channels[second.seat.name].ask("bind", port=taken)
        except VerifyError as error:
            return [Check(1, "localhost", first.seat.pod, None, str(error))]
        shared = checks.sharing_check(first, second, report)
        return [shared, checks.conflict_check(first.seat, taken, answer["errno"])]

    several = [group for group in by_pod.values() if len(group) > 1]
    return [each for result in await gather(check(group[0], group[1]) for group in several) for each in result]
