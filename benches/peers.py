"""One agent with many peers: ``.venv/bin/python -m benches.peers``.

A real agent (vxlan), a kernel namespace, and an API of Nodes alone. For each number of peers: from the agent's start to ready
(process start included), all peers' objects in the kernel; from a Node's creation to its route in the kernel, for one peer more
and for one that goes; a whole comparison with the kernel; resident memory; ADD through the binary, quiet and while
comparisons run one after the other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from benches.cni import HERE, quantile
from benches.support import compile_c, progress, resident_mib, table
from tests.support.agent_node import AgentNode
from tests.support.node_api import peer


def measure(peers: int, directory: Path, pods: int) -> list[str]:
    """One row of the table."""
    made = AgentNode(
        log=directory / f"log-{peers}", peers=peers, pod_cidr="10.127.0.0/24",
        cluster={"podCidrs": ["10.0.0.0/8"], "serviceCidrs": []},
    )  # fmt: skip
    try:
        began = time.monotonic()
        made.start_agent()
        ready = time.monotonic() - began
        assert made.agent is not None
        more, fewer = [], []
        for number in range(peers + 1, peers + 6):
            obj = peer(number)
            target = obj["spec"]["podCIDR"]
            more.append(until(made, target, True, lambda obj=obj: made.request("POST", "/api/v1/nodes", obj)))
            fewer.append(
                until(
                    made,
                    target,
                    False,
                    lambda obj=obj: made.request("DELETE", f"/api/v1/nodes/{obj['metadata']['name']}"),
                )
            )
        resync = []
        for _ in range(5):
            began = time.monotonic()
            made.node.run(
                "curl", "-s", "-X", "POST", "--unix-socket", "/run/podwire/control.sock", "http://agent/v1/resync"
            )
            resync.append(time.monotonic() - began)
        quiet = adds(made, directory, pods, 1)
        stop = threading.Event()
        comparing = threading.Thread(target=compare_until, args=(made, stop))
        comparing.start()
        busy = adds(made, directory, pods, 1 + pods)
        stop.set()
        comparing.join()
        memory = resident_mib(made.agent.pid)
        return [
            str(peers), f"{ready:.2f}", f"{statistics.median(more) * 1e3:.0f}", f"{statistics.median(fewer) * 1e3:.0f}",
            f"{statistics.median(resync) * 1e3:.0f}", f"{memory:.0f}",
            *(f"{quantile(times, share):.2f}" for times in (quiet, busy) for share in (0.5, 0.99)),
        ]  # fmt: skip
    except BaseException:
        print((directory / f"log-{peers}").read_text()[-3000:], file=sys.stderr)
        raise
    finally:
        made.close()


def until(made: AgentNode, target: str, present: bool, act: object) -> float:
    """Seconds from *act* until the route to *target* is there, or gone; starting curl and ip is part of it (see 0 peers)."""
    assert callable(act)
    began = time.monotonic()
    act()
    while True:
        found = bool(made.node.run("ip", "route", "show", target).stdout.strip())
        if found == present:
            return time.monotonic() - began


def adds(made: AgentNode, directory: Path, pods: int, first: int) -> list[float]:
    """Milliseconds of each of *pods* ADDs, one after the other; they are deleted again."""
    script = f"for i in $(seq {first} {first + pods - 1}); do ip netns add pod-$i; done"
    made.node.run("sh", "-c", script, timeout=120)
    (made.node.root / "mnt/podwire.conf").write_text(json.dumps(made.plugin_config()))
    chain = ("1", str(first), str(pods), "/run/netns", "/opt/cni/bin/podwire", "/mnt/podwire.conf")
    lines = made.node.run(directory / "runner", "ADD", *chain, timeout=300).stdout.splitlines()
    made.node.run(directory / "runner", "DEL", *chain, timeout=300)
    return [int(line.split()[1]) / 1e6 for line in lines if not line.startswith("wall")]


def compare_until(made: AgentNode, stop: threading.Event) -> None:
    """Ask for one comparison with the kernel after the other."""
    while not stop.is_set():
        made.node.run(
            "curl",
            "-s",
            "-X",
            "POST",
            "--unix-socket",
            "/run/podwire/control.sock",
            "http://agent/v1/resync",
            check=False,
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--peers", type=int, nargs="+", default=[0, 200, 1000, 5000])
    parser.add_argument("--pods", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="podwire-bench-") as temporary:
        compile_c(HERE / "runner.c", Path(temporary) / "runner")
        rows = []
        for peers in args.peers:
            progress(f"{peers} peers")
            rows.append(measure(peers, Path(temporary), args.pods))
        header = [
            "peers",
            "start to ready s",
            "one more ms",
            "one less ms",
            "resync ms",
            "MiB",
            "ADD p50",
            "p99",
            "in resync p50",
            "p99",
        ]
        table("one agent, many peers", header, rows)


if __name__ == "__main__":
    main()
