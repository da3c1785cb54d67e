"""A proof as text: a matrix of nodes, a verdict per guarantee, what is broken and what to do. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from podwire.verify.evidence import lost_packets
from podwire.verify.proof import Proof
from podwire.verify.values import GUARANTEES, PROTOS, Finding, Judged

_SYMBOLS = {"ok": "✓", "translated": "N", "lost": "✗", "one-way": "✗", "damaged": "D", "unproven": "?"}
_WORST = ("translated", "damaged", "lost", "one-way", "unproven", "ok")
_LEGEND = {
    "✓": "proven", "✗": "lost", "M": "full-size packets lost", "N": "address translated", "D": "damaged",
    "?": "not proven", "·": "not tried",
}  # fmt: skip
_MANY = 12
_WIDTH = 100
_SHOWN_PER_CODE = 3
_COLOURS = {"✓": "32", "✗": "31", "M": "31", "N": "31", "D": "31", "?": "33", "·": "2"}


class Paint:
    """Colours, or none."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, code: str) -> str:
        """*text* in the SGR *code*."""
        return f"\033[{code}m{text}\033[0m" if self._colour and text else text

    def symbols(self, text: str) -> str:
        """A cell of the matrix."""
        return "".join(self(each, _COLOURS.get(each, "0")) for each in text)


def render(proof: Proof, colour: bool = False) -> str:
    """The whole report, without a newline at its end."""
    paint = Paint(colour)
    parts = [_matrix(proof, paint), _verdicts(proof, paint), _findings(proof.findings, paint), _closing(proof, paint)]
    return "\n\n".join(part for part in parts if part)


def _matrix(proof: Proof, paint: Paint) -> str:
    cells = _cells(proof.judged)
    tried = sorted({node for pair in cells for node in pair})
    if not tried:
        return ""
    troubled = {node for pair, cell in cells.items() if set(cell) != {"✓"} for node in pair}
    shown = tried if len(tried) <= _MANY else [node for node in tried if node in troubled][:_MANY]
    coverage = str(proof.coverage)
    heading = coverage[0].upper() + coverage[1:]
    if not shown:
        return f"{heading}: every cell of the matrix is {paint.symbols('✓✓✓')}"
    label = max(len("from → to"), *(len(node) for node in shown))
    width = max(5, label)
    lines = [heading, ""]
    lines.append(paint("  " + "from → to".ljust(label + 2) + "".join(node.ljust(width + 2) for node in shown), "2"))
    used: set[str] = set()
    for one in shown:
        row = f"  {one.ljust(label + 2)}"
        for other in shown:
            cell = cells.get((one, other), "···")
            used |= set(cell)
            row += paint.symbols(cell) + " " * (width + 2 - len(cell))
        lines.append(row.rstrip())
    legend = ", ".join(f"{symbol} {_LEGEND[symbol]}" for symbol in _LEGEND if symbol in used)
    note = f"  each cell: {', '.join(proto.upper() for proto in PROTOS)}, small and full-size; {legend}"
    if len(shown) < len(tried):
        note += f"; {len(tried) - len(shown)} nodes without trouble are not shown"
    return "\n".join([*lines, paint(note, "2")])


def _cells(judged: Sequence[Judged]) -> dict[tuple[str, str], str]:
    """For each ordered pair of nodes, a symbol per protocol; on the diagonal the node's own two pods."""
    groups: dict[tuple[str, str], dict[str, list[Judged]]] = {}
    for each in judged:
        if each.flow.kind == "pod":
            pair = groups.setdefault((each.flow.source_node, each.flow.target_node), {})
            pair.setdefault(each.flow.proto, []).append(each)
    return {pair: "".join(_symbol(protos.get(proto, [])) for proto in PROTOS) for pair, protos in groups.items()}


def _symbol(flows: Sequence[Judged]) -> str:
    if not flows:
        return "·"
    worst = min(flows, key=lambda each: _WORST.index(each.outcome))
    if worst.outcome in ("lost", "one-way") and all(each.ok for each in flows if each.flow.size == "small"):
        return "M"
    return _SYMBOLS[worst.outcome]


def _verdicts(proof: Proof, paint: Paint) -> str:
    marks = {"proven": ("✓ proven", "32"), "broken": ("✗ BROKEN", "1;31"), "not proven": ("? not proven", "33")}
    lines = []
    for verdict in proof.verdicts:
        mark, code = marks[verdict.status]
        head = f"{verdict.guarantee}. {GUARANTEES[verdict.guarantee][0].upper()}{GUARANTEES[verdict.guarantee][1:]}"
        lines.append(f"{paint(mark, code)}  {paint(head, '1')}")
        lines += _wrapped(verdict.sentence, "     ")
    return "\n".join(lines)


def _findings(findings: Sequence[Finding], paint: Paint) -> str:
    if not findings:
        return ""
    lines = [paint("What is broken, and what to do", "1")]
    for group in _by_code(findings):
        for finding in group[:_SHOWN_PER_CODE]:
            lines.append("")
            lines += _wrapped(finding.sentence, "  ", first=f"{paint('✗', '31')} ")
            for each in finding.evidence[:2]:
                lines += [paint(line, "2") for line in _wrapped(each, "      ", first="    · ")]
            lines += _wrapped(finding.remedy, "    ", first=f"  {paint('→', '36')} ")
        if len(group) > _SHOWN_PER_CODE:
            others = ", ".join(finding.where for finding in group[_SHOWN_PER_CODE : _SHOWN_PER_CODE + 8])
            more = "" if len(group) <= _SHOWN_PER_CODE + 8 else ", …"
            lines += ["", *_wrapped(f"and {len(group) - _SHOWN_PER_CODE} more of the same: {others}{more}", "  ")]
    return "\n".join(lines)


def _by_code(findings: Sequence[Finding]) -> Iterator[list[Finding]]:
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.code, []).append(finding)
    yield from groups.values()


def _closing(proof: Proof, paint: Paint) -> str:
    lines = []
    if proof.captures:
        directory = proof.captures[0].rpartition("/")[0]
        lines.append(f"captures: {len(proof.captures)} pcap files in {directory} (tcpdump -nr FILE)")
    lossy = sum(lost_packets(each) for each in proof.judged if each.ok)
    if lossy:
        lines.append(f"{lossy} packets of flows that succeeded were lost on the way: the network drops some at random")
    lines.append(paint(f"{len(proof.judged)} flows in {proof.seconds:.1f} s", "2"))
    return "\n".join(lines)


def _wrapped(text: str, indent: str, first: str = "") -> list[str]:
    """Lines of *text*; *first* replaces the indent of the first one (colour codes in it take no room)."""
    lines = textwrap.wrap(text, _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False) or [""]
    return [(first or indent) + lines[0], *(indent + line for line in lines[1:])]
