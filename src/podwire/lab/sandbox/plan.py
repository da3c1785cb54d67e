"""What a sandbox's init is told, as values; written as ``init.json`` into the sandbox's directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

import podwire

OVERLAYS = ("/etc", "/opt")
"""The machine's content with the sandbox's changes over it."""

PRIVATE = ("/var/lib", "/var/log")
"""Empty at first and the sandbox's own."""

MARKER = "PODWIRE_LAB"
"""Environment variable that every process of a lab carries; its value is the lab's state directory."""


class ServicePlan(msgspec.Struct, frozen=True):
    """A program to keep running. *argv* begins with an absolute path; *descriptors* become its 3, 4, …."""

    argv: tuple[str, ...]
    env: dict[str, str] = msgspec.field(default_factory=dict)
    enabled: bool = True
    descriptors: tuple[str, ...] = ()


class SandboxPlan(msgspec.Struct, frozen=True):
    """All of it. Paths are the machine's; see :func:`podwire.lab.sandbox.mounts.build` for the mounts."""

    hostname: str
    logs: str
    hide: str
    overlays: dict[str, tuple[str, str]]
    binds: tuple[tuple[str, str], ...]
    keep: tuple[str, ...]
    services: dict[str, ServicePlan] = msgspec.field(default_factory=dict)
    descriptors: dict[str, int] = msgspec.field(default_factory=dict)


def python_paths() -> tuple[str, ...]:
    """Directories that this Python and podwire run from: they must be reachable inside a sandbox."""
    found = [sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve().parent.parent)]
    found += [str(Path(entry).resolve()) for entry in sys.path if entry]
    found.append(str(source_directory()))
    whole = sorted({path for path in found if Path(path).is_dir()} - {"/", "/usr"})
    return tuple(path for path in whole if not any(path.startswith(f"{other}/") for other in whole))


def source_directory() -> Path:
    """The directory that holds the package ``podwire``."""
    return Path(podwire.__file__).resolve().parent.parent


def base_environment(marker: str) -> dict[str, str]:
    """The environment of every process in a lab: nothing of the caller's but how Python finds its modules."""
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/root",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        MARKER: marker,
    }
    if "PYTHONPATH" in os.environ:
        env["PYTHONPATH"] = os.environ["PYTHONPATH"]
    return env
