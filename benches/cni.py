"""ADD and DEL against the reference plugins and against the floor, in one run, alternating: ``.venv/bin/python -m benches.cni``.

Contestants, each executed as a runtime executes a plugin (benches/runner.c), in one node made of namespaces:

* podwire: the installed binary and a real agent with its journal;
* floor: a static C program that does the same netlink work and nothing else (benches/floor.c);
* ptp: the reference ptp + host-local;  bridge: bridge + host-local;  portmap: bridge + host-local + portmap, no ports.

Read the ratios: the machine's speed drifts, so contestants take turns in every round. ``gone`` is DEL until no host end is left.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benches.support import compile_c, progress, resident_mib, table
from tests.support.agent_node import AgentNode
from tests.support.tools import tool_dir

HERE = Path(__file__).resolve().parent
NETNS = "/run/netns"


def reference(kind: str, subnet: str) -> str:
    """Configuration of a reference main plugin with host-local."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}]}
    conf = {"cniVersion": "1.0.0", "name": f"ref-{kind}", "type": kind, "ipMasq": False, "ipam": ipam}
    if kind == "bridge":
        conf |= {"bridge": "cni0", "isGateway": True, "hairpinMode": True}
    return json.dumps(conf)


def contestants(bench: Path, plugins: Path) -> dict[str, list[tuple[str, str]]]:
    """Name -> chain of (binary, configuration)."""
    portmap = '{"cniVersion":"1.0.0","name":"ref-bridge","type":"portmap","prevResult":@PREV@}'
    bridge = (f"{plugins}/bridge", reference("bridge", "10.246.0.0/16"))
    return {
        "podwire": [("/opt/cni/bin/podwire", '{"cniVersion":"1.0.0","name":"podwire","type":"podwire"}')],
        "floor": [(str(bench / "floor"), "{}")],
        "ptp": [(f"{plugins}/ptp", reference("ptp", "10.247.0.0/16"))],
        "bridge": [bridge],
        "portmap": [bridge, (f"{plugins}/portmap", portmap)],
    }


class Bench:
    """The node, and the chains' files in it."""

    def __init__(self, made: AgentNode, directory: Path) -> None:
        self.made = made
        self.plugins = tool_dir("ptp", "bridge", "host-local", "portmap")
        self.chains = contestants(directory, self.plugins)
        self.runner = directory / "runner"
        self.next = 1
        for name, chain in self.chains.items():
            for number, (_, conf) in enumerate(chain):
                (made.node.root / f"mnt/{name}-{number}.conf").write_text(conf)

    def namespaces(self, count: int) -> int:
        """Make *count* pods' namespaces; the number of the first."""
        first, self.next = self.next, self.next + count
        script = f"for i in $(seq {first} {first + count - 1}); do ip netns add pod-$i; done"
        self.made.node.run("sh", "-c", script, timeout=120)
        return first

    def remove(self, first: int, count: int) -> None:
        """Remove them."""
        script = (
            f"for i in $(seq {first} {first + count - 1}); do ip netns del pod-$i; rm -f {NETNS}/pod-$i.result; done"
        )
        self.made.node.run("sh", "-c", script, timeout=120)

    def run(self, name: str, command: str, parallel: int, first: int, count: int) -> tuple[list[float], float]:
        """(milliseconds of each pod, seconds of all)."""
        chain = [
            part
            for number, (binary, _) in enumerate(self.chains[name])
            for part in (binary, f"/mnt/{name}-{number}.conf")
        ]
        arguments = [self.runner, command, str(parallel), str(first), str(count), NETNS, *chain]
        result = self.made.node.run("env", f"CNI_PATH={self.plugins}", *arguments, timeout=300)
        times, wall = [], 0.0
        for line in result.stdout.splitlines():
            what, _, nanoseconds = line.partition(" ")
            if what == "wall":
                wall = int(nanoseconds) / 1e9
            else:
                times.append(int(nanoseconds) / 1e6)
        return times, wall

    def until_gone(self) -> float:
        """Seconds until no pod's host end is left."""
        began = time.monotonic()
        script = "while ls /sys/class/net | grep -qE '^(pw[0-9a-f]{11}|pwfl|veth)'; do sleep 0.002; done"
        self.made.node.run("sh", "-c", script, timeout=60)
        return time.monotonic() - began


def quantile(values: list[float], share: float) -> float:
    """The *share* quantile of *values*."""
    return (
        statistics.quantiles(values, n=1000, method="inclusive")[int(share * 1000) - 1]
        if len(values) > 1
        else values[0]
    )


def alternate(bench: Bench, rounds: int, pods: int, parallel: int) -> dict[str, dict[str, list[float]]]:
    """Run all contestants in turns; name -> what -> values."""
    results: dict[str, dict[str, list[float]]] = {
        name: {"add": [], "del": [], "add/s": [], "del/s": [], "gone": []} for name in bench.chains
    }
    for number in range(rounds):
        for name in bench.chains:
            progress(f"{parallel} at once, round {number + 1}/{rounds}: {name}")
            first = bench.namespaces(pods)
            times, wall = bench.run(name, "ADD", parallel, first, pods)
            results[name]["add"] += times
            results[name]["add/s"].append(pods / wall)
            times, wall = bench.run(name, "DEL", parallel, first, pods)
            results[name]["del"] += times
            results[name]["del/s"].append(pods / wall)
            if name != "floor":  # nobody reaps the floor's links: they go with their namespaces
                results[name]["gone"].append((wall + bench.until_gone()) / pods * 1e3)
            bench.remove(first, pods)
            bench.until_gone()
    return results


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pods", type=int, default=40, help="pods a round, one after the other")
    parser.add_argument("--crowd", type=int, default=96, help="pods a round, 16 at once")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="podwire-bench-") as temporary:
        directory = Path(temporary)
        compile_c(HERE / "floor.c", directory / "floor", static=True)
        compile_c(HERE / "runner.c", directory / "runner")
        made = AgentNode(log=directory / "log", pod_cidr="10.244.0.0/16", cluster_cidr="10.244.0.0/16")
        try:
            made.start_agent()
            bench = Bench(made, directory)
            alone = alternate(bench, args.rounds, args.pods, 1)
            crowd = alternate(bench, max(2, args.rounds // 2), args.crowd, 16)
            print_tables(alone, crowd)
            print_memory(bench, made)
        except BaseException:
            print((directory / "log").read_text()[-3000:], file=sys.stderr)
            raise
        finally:
            made.close()


def print_tables(alone: dict[str, dict[str, list[float]]], crowd: dict[str, dict[str, list[float]]]) -> None:
    """Milliseconds, and how many times podwire's median goes into each."""
    rows = []
    base = {what: statistics.median(alone["podwire"][what]) for what in ("add", "del")}
    for name, found in alone.items():
        rows.append(
            [
                name,
                f"{quantile(found['add'], 0.5):.2f}",
                f"{quantile(found['add'], 0.99):.2f}",
                f"{quantile(found['del'], 0.5):.2f}",
                f"{quantile(found['del'], 0.99):.2f}",
                f"{statistics.median(found['gone']):.2f}" if found["gone"] else "-",
                f"{statistics.median(found['add']) / base['add']:.1f}",
                f"{statistics.median(found['del']) / base['del']:.1f}",
            ]
        )
    table(
        "one at a time, ms",
        ["", "ADD p50", "ADD p99", "DEL p50", "DEL p99", "gone", "ADD / podwire", "DEL / podwire"],
        rows,
    )
    rate = {what: statistics.median(crowd["podwire"][what]) for what in ("add/s", "del/s")}
    rows = [
        [
            name,
            *(f"{statistics.median(found[what]):.0f}" for what in ("add/s", "del/s")),
            f"{quantile(found['add'], 0.99):.1f}",
            *(f"{rate[what] / statistics.median(found[what]):.1f}" for what in ("add/s", "del/s")),
        ]
        for name, found in crowd.items()
    ]
    table("16 at once", ["", "ADD/s", "DEL/s", "ADD p99 ms", "podwire ADD/s / it", "podwire DEL/s / it"], rows)


def print_memory(bench: Bench, made: AgentNode) -> None:
    """Resident memory with 250 pods."""
    first = bench.namespaces(250)
    bench.run("podwire", "ADD", 16, first, 250)
    assert made.agent is not None
    table("agent", ["pods", "resident MiB"], [["250", f"{resident_mib(made.agent.pid):.0f}"]])
    bench.run("podwire", "DEL", 16, first, 250)


if __name__ == "__main__":
    main()
