"""Throw-away network namespaces for tests: nameless, so that even a killed test run leaves none behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from podwire.drivers import netns

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make network namespaces")


def run_in(fd: int, *command: str, check: bool = True, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run *command* in the namespace of *fd* and return what it printed."""
    with netns.entered(fd):
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(command)} exited {result.returncode}: {result.stderr.strip()}")
    return result


@contextmanager
def namespace(loopback: bool = True) -> Iterator[int]:
    """A fresh network namespace, as a descriptor."""
    fd = netns.create()
    try:
        if loopback:
            run_in(fd, "ip", "link", "set", "lo", "up")
        yield fd
    finally:
        os.close(fd)
