"""Files below /proc/sys, of the calling thread's network namespace as far as ``net/`` is concerned.

The kernel resolves ``/proc/sys/net`` by the namespace of the task that opens the file, so a thread that has entered a
pod's namespace reads and writes the pod's settings whatever is mounted. Settings are set where needed and never
reset: others may rely on them by now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from podwire.drivers import netns
from podwire.model.errors import KernelError
from podwire.model.intent import Failure, Wanted
from podwire.model.kernel import Sysctl, Value

_ROOT = Path("/proc/sys")


def read(path: str) -> str | None:
    """The value of ``net/ipv4/ip_forward`` and the like, stripped; None when there is no such setting."""
    try:
        return _file(path).read_text().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KernelError(f"read sysctl {path}", error.errno or 0) from error


def write(path: str, value: str) -> None:
    """Set it, unless it has that value already (/proc/sys may be mounted read-only and be right all the same)."""
    if read(path) == value:
        return
    try:
        _file(path).write_text(value)
    except OSError as error:
        raise KernelError(
            f"set sysctl {path} to {value}", error.errno or 0, remedy="the agent needs /proc/sys writable"
        ) from error


def interface_path(family: int, ifname: str, name: str) -> str:
    """Path of a per-interface setting; *family* 4 or 6."""
    return f"net/ipv{family}/conf/{ifname}/{name}"


def ipv6_enabled() -> bool:
    """Whether this kernel speaks IPv6 at all (``ipv6.disable=1`` removes it)."""
    return (_ROOT / "net/ipv6").is_dir()


def _file(path: str) -> Path:
    if path.startswith("/") or ".." in path.split("/"):
        raise KernelError(f"open sysctl {path}", 0, "is not a path below /proc/sys")
    return _ROOT / path


class Sysctls:
    """The settings of the namespace of descriptor *home*. Observed are those that were once put."""

    def __init__(self, home: int) -> None:
        self._home = home
        self._asked: dict[str, None] = {}

    def observe(self) -> Iterable[Value]:
        """The settings once put, as they are now."""
        if not self._asked:
            return []
        with netns.entered(self._home):
            found = [(path, read(path)) for path in self._asked]
        return [Sysctl(path, value) for path, value in found if value is not None]

    def put(self, wanted: Sequence[Wanted]) -> list[Failure]:
        """Set each; return those that could not be set."""
        failures = []
        with netns.entered(self._home):
            for element in wanted:
                value = element.value
                assert isinstance(value, Sysctl)
                self._asked[value.path] = None
                try:
                    write(value.path, value.value)
                except KernelError as error:
                    failures.append(Failure(value, element.cause, error.errno, str(error)))
        return failures

    def drop(self, values: Sequence[Value]) -> list[Failure]:
        """Forget that they were asked for; their values stay."""
        for value in values:
            assert isinstance(value, Sysctl)
            self._asked.pop(value.path, None)
        return []
