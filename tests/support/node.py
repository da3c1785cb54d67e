"""A node for end-to-end tests: one process that holds network, mount and pid namespaces of its own.

Its /run, /etc/cni, /opt/cni and /var/lib are private tmpfs, so default paths work and nothing reaches the machine. The
node ends with its holder: killing that (``close``, or the death of the test run) takes every process of the node along,
since they live in its pid namespace.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent.parent
PRIVATE = ("/run", "/etc/cni", "/opt/cni", "/var/lib/cni", "/var/lib/containerd", "/mnt")
_HOLD = """
set -e
mount --make-rprivate /
for dir in {dirs}; do mkdir -p "$dir"; mount -t tmpfs -o mode=0755 podwire-test "$dir"; done
mount --make-rshared /
mkdir -p /run/netns
ip link set lo up
echo ready
exec sleep infinity
"""


class Node:
    """The namespaces, and ways to run things in them."""

    def __init__(self, created: Sequence[str] = PRIVATE) -> None:
        script = _HOLD.format(dirs=" ".join(created))
        self._holder = subprocess.Popen(
            [
                "unshare",
                "--mount",
                "--net",
                "--pid",
                "--ipc",
                "--uts",
                "--fork",
                "--mount-proc",
                "--kill-child=SIGKILL",
                "sh",
                "-c",
                script,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline().strip() != "ready":
            _, problem = self._holder.communicate()
            raise RuntimeError(f"no node: {problem.strip()}")
        self.pid = int(Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()[0])
        self._started: list[subprocess.Popen[str]] = []

    @property
    def root(self) -> Path:
        """The node's file system, seen from outside."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def netns(self) -> str:
        """Path of the node's network namespace."""
        return f"/proc/{self.pid}/ns/net"

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """The environment for programs of this checkout."""
        return {**os.environ, "PYTHONPATH": str(ROOT), **(extra or {})}

    def command(self, *command: str | Path) -> list[str]:
        """*command*, to be run in the node."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "-i", "-u", "--", *map(str, command)]

    def run(
        self, *command: str | Path, check: bool = True, timeout: float = 60, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run *command* in the node and wait for it; a failure shows what it printed."""
        result: subprocess.CompletedProcess[str] = subprocess.run(  # type: ignore[call-overload]
            self.command(*command), capture_output=True, text=True, timeout=timeout, **options
        )
        if check and result.returncode:
            shown = " ".join(map(str, command))
            raise AssertionError(f"{shown} exited {result.returncode}:\n{result.stdout}\n{result.stderr}")
        return result

    def start(
        self, *command: str | Path, log: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start *command* in the node; it is killed with the node. Output goes to *log*."""
        output: IO[str] | int = log.open("a") if log else subprocess.DEVNULL
        process = subprocess.Popen(
            self.command(*command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment(env),
        )
        if not isinstance(output, int):
            output.close()
        self._started.append(process)
        return process

    def kill_inside(self, process: subprocess.Popen[str], number: signal.Signals = signal.SIGKILL) -> None:
        """Signal the process that *process* (an nsenter) runs in the node, and reap both."""
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children or [str(process.pid)]:
            os.kill(int(child), number)
        process.wait(10)

    def pod_namespace(self, name: str) -> str:
        """Make a named network namespace in the node; its path, as the node sees it."""
        self.run("ip", "netns", "add", name)
        return f"/run/netns/{name}"

    def close(self) -> None:
        """End every process of the node and wait for them."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._holder.kill()
        self._holder.communicate()
        for process in self._started:
            process.wait(10)


@contextmanager
def node() -> Iterator[Node]:
    """A node for the length of the block."""
    made = Node()
    try:
        yield made
    finally:
        made.close()


def wait_for(condition: object, what: str, seconds: float = 30) -> None:
    """Call *condition* until it is true; a test that waits in vain says for *what*."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)
