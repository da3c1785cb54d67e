"""What an image's name means in a lab, where nothing can be pulled: a ready workload, or just a name.

Each container is a process on this machine. The **ready workloads** have a command of their own, which ``command:``
and ``args:`` replace as they do with a real image's entrypoint and cmd. Any other image is only a label: its
container needs a ``command:`` that this machine has.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from podwire.lab import workloads
from podwire.model.errors import InputError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SLEEP = ("/bin/sh", "-c", 'trap "exit 0" TERM INT; sleep infinity & wait')
"""As a container's first process ``sleep`` alone would ignore SIGTERM (pid_namespaces(7)): nobody waits 30 s for that."""


class Image(msgspec.Struct, frozen=True):
    """A ready workload: *entrypoint* is what ``command:`` replaces, *cmd* what ``args:`` replaces."""

    name: str
    summary: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...] = ()
    path: str = SYSTEM_PATH


def _program(name: str) -> tuple[str, ...]:
    """A workload that is one file of standard-library Python: started without site, in 20 ms instead of 60."""
    return (sys.executable, "-I", "-S", "-u", str(Path(workloads.__file__).parent / f"{name}.py"))


_WITH_PYTHON = f"{Path(sys.executable).parent}:{SYSTEM_PATH}"

READY = {
    image.name: image
    for image in (
        Image("podwire/echo", "answers on TCP, UDP and HTTP, and tells who asked", _program("echo")),
        Image("podwire/client", "asks a target over and over, and prints each answer", _program("client")),
        Image("podwire/shell", "sleeps: exec into it for ip, ss, ping, curl, dig, tcpdump", (), _SLEEP),
        Image("podwire/probe", "sleeps: `python -m podwire…` works in it", (), _SLEEP, _WITH_PYTHON),
        Image("podwire/pause", "does nothing", (), _SLEEP),
    )
}


class Unresolvable(InputError):
    """There is no such image here, and nothing else to run either."""


def ready(image: str) -> Image | None:
    """The ready workload that *image* names; registry, tag and digest do not matter."""
    name = re.sub(r"^(docker\.io|localhost(:\d+)?)/", "", image.partition("@")[0])
    return READY.get(re.sub(r":[\w.-]+$", "", name))


def command_line(image: str, command: Sequence[str], args: Sequence[str]) -> tuple[str, ...]:
    """What a container runs. Unresolvable when that is nothing: the message is for the pod's author."""
    known = ready(image)
    if command:
        return (*command, *args)
    if known is None:
        raise Unresolvable(
            "image", image, "cannot be pulled: the lab has no images, a container is a process on this machine",
            remedy=f"give it a command: of this machine, or use one of {', '.join(READY)}",
        )  # fmt: skip
    return (*known.entrypoint, *args) if known.entrypoint and args else (*known.entrypoint, *(args or known.cmd))


def missing_command(image: str, argv: Sequence[str]) -> str:
    """What to tell the author of a container whose command could not be found."""
    return (
        f'image "{image}": the command "{argv[0]}" is not on this machine; the lab pulls no images, a container runs a '
        f"command of this machine: install it here, or use one of the lab's ready workloads: {', '.join(READY)}"
    )


def search_path(image: str) -> str:
    """PATH of a container that does not set it."""
    known = ready(image)
    return known.path if known else SYSTEM_PATH
