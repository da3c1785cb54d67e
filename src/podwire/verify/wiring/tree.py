"""Trees of text: branches, their drawing, and how numbers and routes are written in them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from podwire.verify import observation as seen

SHORT = 8
"""As many lines of one kind are shown unless everything is asked for."""


class Branch(msgspec.Struct, frozen=True):
    """A line of the tree: *label*, a fainter *note*, and what hangs below. *wrong* says what should be otherwise."""

    label: str
    note: str = ""
    children: tuple[Branch, ...] = ()
    wrong: str = ""


def route_text(route: seen.SeenRoute) -> str:
    """A route as ``ip route`` writes it."""
    parts = ["" if route.type == "unicast" else route.type, "default" if route.default else route.dst]
    parts += [f"via {route.via}"] if route.via else []
    parts += [f"dev {route.dev}"] if route.dev else []
    parts += ["onlink"] if route.onlink else []
    parts += [f"metric {route.metric}"] if route.metric else []
    parts += [f"mtu {route.mtu}"] if route.mtu else []
    parts += [f"nexthops {', '.join(route.hops)}"] if route.hops else []
    return " ".join(part for part in parts if part)


def traffic(link: seen.SeenLink) -> str:
    """What passed a device, from its own side: a host end's “in” is what the pod sent."""
    counters = link.counters
    rx = f"{count(counters.rx_packets)} ({size(counters.rx_bytes)})"
    tx = f"{count(counters.tx_packets)} ({size(counters.tx_bytes)})"
    text = f", in {rx}, out {tx}"
    bad = counters.rx_dropped + counters.tx_dropped + counters.rx_errors + counters.tx_errors
    return text + (f", {bad} dropped" if bad else "")


def count(number: int) -> str:
    """A number of packets, shortened."""
    return (
        str(number) if number < 10_000 else f"{number / 1000:.0f}k" if number < 10_000_000 else f"{number / 1e6:.0f}M"
    )


def size(number: float) -> str:
    """A number of bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def cut(lines: Sequence[Branch], everything: bool) -> tuple[Branch, ...]:
    """The first few of *lines*, and how many more there are."""
    if everything or len(lines) <= SHORT:
        return tuple(lines)
    return (*lines[: SHORT - 1], Branch(f"… and {len(lines) - SHORT + 1} more", "-v shows them"))


def render(branch: Branch, colour: bool = False) -> str:
    """The tree as lines of text."""
    lines = [_line(branch, colour)]
    _below(branch, "", colour, lines)
    return "\n".join(lines)


def _below(branch: Branch, indent: str, colour: bool, lines: list[str]) -> None:
    for place, child in enumerate(branch.children):
        last = place == len(branch.children) - 1
        lines.append(f"{indent}{'└─' if last else '├─'} {_line(child, colour)}")
        _below(child, indent + ("   " if last else "│  "), colour, lines)


def _line(branch: Branch, colour: bool) -> str:
    def paint(text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if colour and text else text

    parts = [paint(branch.label, "1" if branch.children else "0"), paint(branch.note, "2")]
    if branch.wrong:
        parts.append(paint(f"✗ {branch.wrong}", "31"))
    return "  ".join(part for part in parts if part)
