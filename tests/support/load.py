"""A crowd of runtimes: ``python -m tests.support.load WORKERS`` makes and removes pods through the installed CNI binary.

Commands on stdin: ``go`` lets the workers loose, ``stop`` lets each finish what it began and prints one JSON line: which pods
are attached now, with their addresses, and what went wrong so far. A worker behaves as runtimes do: an ADD that failed is
followed by a DEL; a DEL that failed is tried again.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from typing import Any

PLUGIN = "/opt/cni/bin/podwire"
CONFIG = json.dumps({"cniVersion": "1.0.0", "name": "podwire", "type": "podwire"})


class Crowd:
    """The workers and what they know together."""

    def __init__(self, workers: int) -> None:
        self.lock = threading.Lock()
        self.attached: dict[str, str] = {}
        self.owner: dict[str, str] = {}
        self.faults: list[str] = []
        self.counts = {"adds": 0, "failed adds": 0, "dels": 0, "failed dels": 0}
        self.loose = threading.Event()
        self.idle = threading.Semaphore(0)
        self.workers = workers
        for number in range(workers):
            threading.Thread(target=self.work, args=(number,), daemon=True).start()

    def work(self, number: int) -> None:
        """One worker: pods come and go, one at a time, each in a namespace of its own."""
        chance = random.Random(number)
        generation = 0
        while True:
            self.loose.wait()
            generation += 1
            pod = f"pod-{number}-{generation}"
            subprocess.run(["ip", "netns", "add", pod], check=True)
            if self.add(pod):
                time.sleep(chance.random() * 0.02)
                if not self.loose.is_set():  # stopped: this one stays, to be looked at
                    self.rest()
                self.delete(pod)
            subprocess.run(["ip", "netns", "del", pod], check=True)
            if not self.loose.is_set():
                self.rest()

    def rest(self) -> None:
        """Say that this worker has stopped, and wait until it may go on."""
        self.idle.release()
        self.loose.wait()

    def add(self, pod: str) -> bool:
        """ADD; on failure DEL, as a runtime does."""
        status, answer = self.call("ADD", pod)
        if status:
            self.count("failed adds")
            if answer.get("code") not in (11, 50):
                self.fault(f"ADD {pod}: {answer}")
            self.delete(pod)
            return False
        address = answer["ips"][0]["address"].split("/")[0]
        self.count("adds")
        with self.lock:
            if address in self.owner:
                self.faults.append(f"{address} was given to {pod} while {self.owner[address]} had it")
            self.attached[pod] = address
            self.owner[address] = pod
        return True

    def delete(self, pod: str) -> None:
        """DEL until it succeeds."""
        with self.lock:  # from here on the address may be freed at any moment
            address = self.attached.pop(pod, None)
            if address:
                self.owner.pop(address, None)
        for _ in range(200):
            status, _ = self.call("DEL", pod)
            if not status:
                self.count("dels")
                return
            self.count("failed dels")
            time.sleep(0.05)
        self.fault(f"DEL {pod} never succeeded")

    def call(self, command: str, pod: str) -> tuple[int, dict[str, Any]]:
        """Execute the plugin."""
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": pod,
            "CNI_NETNS": f"/run/netns/{pod}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": f"K8S_POD_NAMESPACE=load;K8S_POD_NAME={pod};IgnoreUnknown=1",
        }
        result = subprocess.run(
            [PLUGIN], input=CONFIG, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        try:
            return result.returncode, json.loads(result.stdout) if result.stdout.strip() else {}
        except ValueError:
            self.fault(f"{command} {pod} printed no JSON: {result.stdout[:200]!r} {result.stderr[:200]!r}")
            return 1, {}

    def count(self, what: str) -> None:
        """One more."""
        with self.lock:
            self.counts[what] += 1

    def fault(self, text: str) -> None:
        """Something that must not happen."""
        with self.lock:
            self.faults.append(text)

    def stop(self) -> str:
        """Let every worker finish what it began; the state as JSON."""
        self.loose.clear()
        for _ in range(self.workers):
            self.idle.acquire()
        with self.lock:
            return json.dumps({"attached": self.attached, "faults": self.faults, "counts": self.counts})


def main() -> None:
    """Obey stdin."""
    crowd = Crowd(int(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "go":
            crowd.loose.set()
        elif line.strip() == "stop":
            print(crowd.stop(), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
