"""``python -m podwire.lab.apiserver --dir DIR --listen-fd N``: serve until SIGTERM or SIGINT.

Listening sockets are inherited, so that one process serves in several network namespaces.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from ipaddress import ip_network
from pathlib import Path

from podwire.lab.apiserver.kinds.strategy import Settings
from podwire.lab.apiserver.server import ApiServer, listen
from podwire.model.errors import PodwireError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="podwire.lab.apiserver", description="The lab's API server.")
    parser.add_argument("--dir", type=Path, required=True, help="certificates, tokens and state, made by pki.prepare")
    parser.add_argument("--listen-fd", type=int, action="append", default=[], help="an inherited listening socket")
    parser.add_argument("--listen", action="append", default=[], metavar="HOST:PORT", help="an address to listen on")
    parser.add_argument("--service-cidr", default="10.96.0.0/16", help="where cluster IPs come from, comma-separated")
    return parser.parse_args()


def _inherited(descriptor: int) -> socket.socket:
    listener = socket.socket(fileno=descriptor)
    listener.setblocking(False)
    return listener


def _listener(text: str) -> socket.socket:
    host, _, port = text.rpartition(":")
    return listen(host.strip("[]") or "127.0.0.1", int(port))


async def _serve(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sockets = [_inherited(descriptor) for descriptor in arguments.listen_fd]
    sockets += [_listener(text) for text in arguments.listen]
    settings = Settings(service_cidrs=tuple(ip_network(cidr) for cidr in arguments.service_cidr.split(",")))
    async with ApiServer(arguments.dir, sockets, settings=settings) as server:
        logging.info("serving on %s", ", ".join(server.urls))
        gc.collect()
        gc.freeze()  # what start-up made stays for good: later collections need not walk it
        await stop.wait()
    logging.info("stopped")


def main() -> int:
    """Run the server; the exit code is 0 after a signal, 1 when it could not start."""
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(_serve(_arguments()))
    except (PodwireError, OSError, ValueError) as error:
        logging.error("the API server cannot serve: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
