"""Gather what the witnesses of each flow say, and have it judged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from podwire.model.errors import VerifyError
from podwire.verify.cast import Cast, gather
from podwire.verify.evidence import judge, sent_tuple
from podwire.verify.observation import SeenConnection
from podwire.verify.values import CapturedPacket, Check, Evidence, Flow, Judged, Placed, Report, Sighting

_T = TypeVar("_T")


async def judge_all(
    cast: Cast, flows: Sequence[Flow], placed: Sequence[Placed], reports: Sequence[Report]
) -> tuple[list[Judged], list[Check]]:
    """Hear all witnesses and judge each flow by its report; and a check for each node that could not be heard."""
    receives: dict[str, list[str]] = {}
    captures: dict[str, list[str]] = {}
    for flow in flows:
        if flow.target in cast.placed:
            receives.setdefault(flow.target, []).append(flow.nonce)
        if flow.kind == "pod":
            captures.setdefault(flow.source, []).append(flow.nonce)
            captures.setdefault(flow.target, []).append(flow.nonce)
    addresses = sorted({ip for each in placed if not each.seat.host for ip in each.ips})
    sightings, captured, (tracked, problems) = await asyncio.gather(
        gather(_unless_gone(cast.sightings(seat, of)) for seat, of in receives.items()),
        gather(_unless_gone(cast.captured(seat, of)) for seat, of in captures.items()),
        cast.conntrack(addresses),
    )
    witness = _Witnesses(
        dict(zip(receives, sightings, strict=True)), dict(zip(captures, captured, strict=True)), _by_address(tracked)
    )
    judged = [judge(flow, witness.of(flow, report)) for flow, report in zip(flows, reports, strict=True)]
    blind = [Check(2, "conntrack", node, None, f"conntrack of {node}: {why}") for node, why in sorted(problems.items())]
    return judged, blind


class _Witnesses:
    """What receivers, captures and nodes say, by seat and node."""

    def __init__(
        self,
        sightings: dict[str, dict[str, Sighting] | None],
        captured: dict[str, dict[str, tuple[CapturedPacket, ...]] | None],
        tracked: dict[str, list[tuple[str, SeenConnection]]],
    ) -> None:
        self._sightings, self._captured, self._tracked = sightings, captured, tracked

    def of(self, flow: Flow, report: Report) -> Evidence:
        """The evidence of one flow."""
        seen = self._sightings.get(flow.target) or {}
        bare = Evidence(report, seen.get(flow.nonce))
        if flow.kind != "pod":
            return bare
        sent = sent_tuple(flow, bare)
        nearby = self._tracked.get(flow.dst, ())
        tracked = [(node, entry) for node, entry in nearby if sent in (entry.original, _turned(entry))]
        return Evidence(
            report=report,
            sighting=bare.sighting,
            at_sender=self._packets(flow.source, flow.nonce),
            at_receiver=self._packets(flow.target, flow.nonce),
            tracked=tuple(tracked),
        )

    def _packets(self, seat: str, nonce: str) -> tuple[CapturedPacket, ...] | None:
        captured = self._captured.get(seat)
        return None if captured is None else captured.get(nonce, ())


def _turned(entry: SeenConnection) -> tuple[str, str, int, str, int]:
    proto, src, sport, dst, dport = entry.reply
    return (proto, dst, dport, src, sport)


def _by_address(tracked: dict[str, list[SeenConnection]]) -> dict[str, list[tuple[str, SeenConnection]]]:
    found: dict[str, list[tuple[str, SeenConnection]]] = {}
    for node, entries in tracked.items():
        for entry in entries:
            for address in {entry.original[3], entry.reply[1]}:
                found.setdefault(address, []).append((node, entry))
    return found


async def _unless_gone(work: Awaitable[_T]) -> _T | None:
    """None where the probe is gone by now: its testimony is missing, which is not the same as empty."""
    try:
        return await work
    except VerifyError:
        return None
