"""A lab's state directory: who is in it, its pinned namespaces, its lock.

::

    /run/podwire-lab/             PODWIRE_LAB_DIR moves it
      NAME/                       0700
        lab.json                  Record: what was asked for, the nodes, the API server's port
        fabric.json               how each segment behaves: loss, blocked ports, MTU
        ns/HOST                   pinned network namespaces (bind mounts; ns itself is a private mount)
        nodes/NODE/  hosts/HOST/  one sandbox each: init.json, process.json, services.json, fs/
        api/                      the API server's database, certificates, tokens
        logs/HOST-PROGRAM.log
        kubeconfig                for kubectl, as admin
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from podwire.drivers import netns
from podwire.lab import processes
from podwire.lab.sandbox import syscalls
from podwire.lab.spec import LabSpec, NodeRecord
from podwire.model.errors import LabError, StoreTooNew

SCHEMA = 1
_LOCK_PATIENCE = 120.0
_DEFAULT_PARENT = "/run/podwire-lab"


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """``lab.json``. *boot* tells a state that the machine's reboot left behind from a live one."""

    spec: LabSpec
    boot: str
    nodes: tuple[NodeRecord, ...] = ()
    api_port: int = 0
    phase: Literal["starting", "up"] = "starting"
    schema: int = SCHEMA


def parent_directory() -> Path:
    """The directory of all labs: $PODWIRE_LAB_DIR, else /run/podwire-lab."""
    path = os.environ.get("PODWIRE_LAB_DIR") or _DEFAULT_PARENT
    if not path.startswith("/") or any(char in path for char in " \t\n\\\"',:"):
        raise LabError(
            f"PODWIRE_LAB_DIR={path!r} cannot be used", remedy="give an absolute path without blanks, ',' and ':'"
        )
    return Path(path)


def lab_names() -> list[str]:
    """Every lab that has a state directory, whole or not."""
    try:
        return sorted(entry.name for entry in parent_directory().iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class LabDirectory:
    """The state directory of the lab *name*, which need not exist yet."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.parent = parent_directory()
        self.path = self.parent / name

    @property
    def marker(self) -> str:
        """What every process of this lab carries in its environment."""
        return str(self.path)

    @property
    def namespaces(self) -> Path:
        return self.path / "ns"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def api(self) -> Path:
        return self.path / "api"

    @property
    def kubeconfig(self) -> Path:
        return self.path / "kubeconfig"

    def node(self, name: str) -> Path:
        """Directory of a node's sandbox."""
        return self.path / "nodes" / name

    def host(self, name: str) -> Path:
        """Directory of another host's sandbox (the control plane, the world)."""
        return self.path / "hosts" / name

    def create(self) -> None:
        """Make the directory; LabError when the lab exists."""
        self.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            raise LabError(
                f"the lab {self.name!r} exists already",
                remedy=f"use it (podwire lab status --name {self.name}), end it (podwire lab down --name {self.name}) "
                "or give the new one another --name",
            ) from None
        for path in (self.namespaces, self.logs, self.api, self.path / "nodes", self.path / "hosts"):
            path.mkdir(mode=0o700)
        # A mount of its own, private, so that no pin spreads into other mount namespaces of the machine.
        syscalls.bind(str(self.namespaces), str(self.namespaces))
        syscalls.mount(None, str(self.namespaces), None, syscalls.MS_PRIVATE)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lab for one change at a time; waits for others. LabError when there is no such lab."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self.missing() from None
        try:
            deadline = time.monotonic() + _LOCK_PATIENCE
            while not _try_lock(fd):
                if time.monotonic() > deadline:
                    raise LabError(
                        f"another command has been busy with the lab {self.name!r} for {_LOCK_PATIENCE:g} s",
                        remedy="let it finish or end it, then try again",
                    )
                time.sleep(0.02)
            if os.fstat(fd).st_nlink == 0:
                raise self.missing()
            yield
        finally:
            os.close(fd)

    def missing(self) -> LabError:
        """The error for a lab that is not there."""
        others = lab_names()
        found = f"there are: {', '.join(others)}" if others else "podwire lab up makes one"
        return LabError(f"there is no lab {self.name!r}", remedy=found)

    def read(self) -> Record:
        """``lab.json``; LabError when there is no such lab or it is damaged, StoreTooNew when of a newer podwire."""
        try:
            text = (self.path / "lab.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            if self.path.is_dir():
                raise self._broken("was never finished") from None
            raise self.missing() from None
        try:
            schema = msgspec.json.decode(text, type=dict[str, object]).get("schema", 0)
            if isinstance(schema, int) and schema > SCHEMA:
                raise StoreTooNew(
                    f"a newer podwire made the lab {self.name!r} (schema {schema}, this one knows {SCHEMA})",
                    remedy="use that podwire, or podwire lab down",
                )
            return msgspec.json.decode(text, type=Record)
        except msgspec.DecodeError as error:
            raise self._broken(f"has a damaged lab.json ({error})") from None

    def _broken(self, how: str) -> LabError:
        return LabError(f"the lab {self.name!r} {how}", remedy=f"podwire lab down --name {self.name}")

    def write(self, record: Record) -> None:
        """Replace ``lab.json``."""
        self.write_private("lab.json", msgspec.json.format(msgspec.json.encode(record)))

    def write_private(self, name: str, content: bytes) -> Path:
        """Write a file below the state directory that only root may read, whole or not at all."""
        file = self.path / name
        temporary = file.with_name(file.name + ".new")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(content)
        temporary.replace(file)
        return file

    # -- pinned network namespaces -------------------------------------------------------------------------------

    def pin(self, host: str) -> None:
        """Make a network namespace that lasts until :meth:`unpin`, loopback not up yet."""
        file = self.namespaces / host
        file.touch(mode=0o600, exist_ok=False)
        fd = netns.create()
        try:
            syscalls.bind(f"/proc/self/fd/{fd}", str(file))
        finally:
            os.close(fd)

    def unpin(self, host: str) -> None:
        """Let a namespace go; nothing happens if it is gone."""
        file = self.namespaces / host
        syscalls.unmount_below(str(file))
        file.unlink(missing_ok=True)

    def stale(self, record: Record) -> bool:
        """Whether the machine was rebooted since the lab was made, so that nothing of it lives."""
        return record.boot != processes.boot_id()
