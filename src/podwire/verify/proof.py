"""The outcome of a proof: a verdict for each guarantee, and all that it rests on. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from podwire.verify.plan import Coverage
from podwire.verify.values import GUARANTEES, Check, Finding, Judged, Verdict

PROVEN, BROKEN, NOT_CARRIED_OUT = 0, 1, 2
"""Exit statuses."""


class Proof(msgspec.Struct, frozen=True):
    """*seconds* counts from the probes' being there; *captures* are the paths of the pcap files."""

    nodes: tuple[str, ...]
    coverage: Coverage
    judged: tuple[Judged, ...]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    verdicts: tuple[Verdict, ...]
    seconds: float
    captures: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """0 when all guarantees are proven, 1 when one is broken, 2 when a proof could not be carried out."""
        states = {verdict.status for verdict in self.verdicts}
        if "broken" in states:
            return BROKEN
        return NOT_CARRIED_OUT if "not proven" in states else PROVEN


def guarantee_of(each: Judged) -> int:
    """The guarantee that a flow is about."""
    return 3 if each.flow.kind == "node" else 2


def verdicts(
    judged: Sequence[Judged], checks: Sequence[Check], stuck: Sequence[Finding], coverage: Coverage
) -> tuple[Verdict, ...]:
    """One verdict per guarantee. *stuck* names nodes without probes: what cannot be tried is not proven."""
    return tuple(_verdict(number, judged, checks, stuck, coverage) for number in GUARANTEES)


def _verdict(
    number: int, judged: Sequence[Judged], checks: Sequence[Check], stuck: Sequence[Finding], coverage: Coverage
) -> Verdict:
    flows = [each for each in judged if guarantee_of(each) == number] if number != 1 else []
    own = [check for check in checks if check.guarantee == number]
    failed = [each for each in flows if not each.ok and each.outcome != "unproven"]
    broken = [check for check in own if check.ok is False]
    if failed or broken:
        parts = [_failures(failed, len(flows))] if failed else []
        parts += [check.sentence for check in broken[:2]]
        return Verdict(number, "broken", "; ".join(parts))
    doubts = [f"{each.flow.name}: {each.sentence}" for each in flows if each.outcome == "unproven"]
    doubts += [check.sentence for check in own if check.ok is None]
    doubts += [finding.sentence for finding in stuck]
    if not flows and number != 1:
        doubts.append("nothing could be tried")
    if doubts:
        more = f" (and {len(doubts) - 1} more)" if len(doubts) > 1 else ""
        return Verdict(number, "not proven", doubts[0] + more)
    return Verdict(number, "proven", _proven(number, flows, own, coverage))


_HAPPENED = {"lost": "lost", "one-way": "not answered", "translated": "translated", "damaged": "damaged"}


def _failures(failed: Sequence[Judged], total: int) -> str:
    counts = Counter(_HAPPENED.get(each.outcome, each.outcome) for each in failed)
    how = ", ".join(f"{number} {what}" for what, number in counts.most_common())
    return f"{len(failed)} of {total} flows fail: {how}"


def _proven(number: int, flows: Sequence[Judged], own: Sequence[Check], coverage: Coverage) -> str:
    if number == 1:
        unique = next((check.sentence for check in own if check.name == "unique address"), "")
        shared = sum(check.name == "localhost" for check in own)
        return unique + (f"; containers share localhost and ports in {shared} pods" if shared else "")
    if number == 2:
        largest = max((each.flow.packet for each in flows), default=0)
        return (
            f"{len(flows)} flows over {coverage}, TCP, UDP and ICMP, up to {largest}-byte packets unfragmented: "
            "the address that was sent is the address that arrived, captured at both ends; no NAT"
        )
    pods = {each.flow.target for each in flows}
    nodes = {each.flow.source_node for each in flows}
    return f"{len(nodes)} nodes reach all their {len(pods)} pods"
