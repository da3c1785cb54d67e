"""The lab's API server: creating, listing and watching, and its memory. ``python -m benches.apiserver``; needs no root.

The server is a process of its own, as in the lab; the client shares the machine with it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from benches.support import progress, resident_mib, table
from podwire.lab.apiserver.pki import prepare
from podwire.lab.apiserver.server import listen

PODS = "/api/v1/namespaces/default/pods"


def pod(name: str) -> bytes:
    """A Pod of about 2 KB as stored."""
    env = [{"name": f"VARIABLE_{number}", "value": "x" * 40} for number in range(12)]
    ports = [{"containerPort": 8080, "name": "http"}]
    containers = [{"name": "main", "image": "podwire/echo:1", "ports": ports, "env": env}]
    labels = {"app": "web", "number": name}
    return json.dumps({"metadata": {"name": name, "labels": labels}, "spec": {"containers": containers}}).encode()


class Bench:
    """One server and its client."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str, pid: int) -> None:
        self._session, self._url, self.pid = session, url, pid
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.rows: list[list[str]] = []

    def row(self, what: str, value: str) -> None:
        """Note a result, with the server's memory after it."""
        self.rows.append([what, value, f"{resident_mib(self.pid):.0f}"])
        progress(what)

    async def call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """One request that must succeed."""
        async with self._session.request(method, self._url + path, data=body, headers=self._headers) as response:
            answer = await response.read()
            assert response.status < 300, answer
            return answer

    async def create(self, first: int, last: int, parallel: int) -> None:
        """Create pods *first* to *last*, *parallel* at a time."""
        numbers = iter(range(first, last))

        async def one() -> None:
            for number in numbers:
                await self.call("POST", PODS, pod(f"p{number:06}"))

        start = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(parallel)))
        rate = (last - first) / (time.perf_counter() - start)
        self.row(f"create, {parallel} at once", f"{rate:.0f}/s")

    async def list(self, what: str, query: str, times: int = 5) -> None:
        """List everything, several times; the median."""
        taken, size = [], 0
        for _ in range(times):
            start = time.perf_counter()
            size = len(await self.call("GET", PODS + query))
            taken.append(time.perf_counter() - start)
        self.row(what, f"{sorted(taken)[times // 2] * 1000:.0f} ms, {size / 1e6:.1f} MB")

    async def watch(self, watchers: int, events: int) -> None:
        """Time from the first of *events* changes until the last of *watchers* has seen all of them."""
        first: dict[str, Any] = json.loads(await self.call("GET", PODS + "?limit=1"))
        since = first["metadata"]["resourceVersion"]
        ready = asyncio.Semaphore(0)

        async def follow() -> None:
            query = f"?watch=true&resourceVersion={since}"
            async with self._session.get(self._url + PODS + query, headers=self._headers) as response:
                ready.release()
                seen = 0
                async for block in response.content.iter_any():
                    seen += block.count(b"\n")
                    if seen >= events:
                        return

        followers = [asyncio.create_task(follow()) for _ in range(watchers)]
        for _ in followers:
            await ready.acquire()
        start = time.perf_counter()
        numbers = iter(range(events))

        async def change() -> None:
            for number in numbers:
                await self.call("POST", PODS, pod(f"w{watchers}-{number:06}"))

        await asyncio.gather(*(change() for _ in range(16)))
        written = time.perf_counter() - start
        await asyncio.gather(*followers)
        seen = time.perf_counter() - start
        self.row(f"{events} changes to {watchers} watchers", f"written {written:.2f} s, seen by all {seen:.2f} s")


async def run(pods: int) -> None:
    """Bring a server up, measure, print."""
    with tempfile.TemporaryDirectory() as name, listen("127.0.0.1", 0) as listener:
        directory, descriptor = Path(name), listener.fileno()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        files = await asyncio.to_thread(prepare, directory, ["127.0.0.1"], [], server=url, local_server=url)
        token = json.loads(files.admin.read_text())["users"][0]["user"]["token"]
        command = [sys.executable, "-m", "podwire.lab.apiserver", "--dir", name, "--listen-fd", str(descriptor)]
        start = time.perf_counter()
        server = await asyncio.create_subprocess_exec(*command, pass_fds=[descriptor], stderr=subprocess.DEVNULL)
        try:
            connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(files.ca)), limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:
                bench = Bench(session, url, token, server.pid)
                await bench.call("GET", "/readyz")
                bench.row("start to ready", f"{time.perf_counter() - start:.2f} s")
                await bench.create(0, min(500, pods), 1)
                await bench.create(min(500, pods), pods, 16)
                await bench.list(f"list {pods} pods at once", "")
                await bench.list("the first 500 of them", "?limit=500")
                await bench.list("one in them by field", "?fieldSelector=metadata.name=p000007")
                await bench.list("by label, one matches", "?labelSelector=number=p000007")
                await bench.watch(1, 1000)
                await bench.watch(20, 1000)
        finally:
            server.terminate()
            await server.wait()
    table(f"The lab's API server, {pods} pods", ["", "result", "server MiB"], bench.rows)


def main() -> None:
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=5000)
    asyncio.run(run(parser.parse_args().pods))


if __name__ == "__main__":
    main()
