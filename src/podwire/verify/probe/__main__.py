"""``python -m podwire.verify.probe [--hold]``."""

from __future__ import annotations

import os
import signal
import sys

from podwire.verify.probe.server import Server


def main() -> None:
    """Serve the standard streams, or hold the pod alive."""
    if "--hold" in sys.argv[1:]:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        signal.signal(signal.SIGINT, lambda *_: os._exit(0))
        while True:
            signal.pause()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Server(sys.stdin.buffer, sys.stdout.buffer).run()
    os._exit(0)  # threads may wait for answers that nobody needs any more


if __name__ == "__main__":
    main()
