"""A sandbox's view of the file system, set up in its fresh mount namespace.

Nothing leaks out: every mount is made a slave of the machine's first, so that the machine's later unmounts reach the
sandbox, and nothing of the sandbox reaches the machine. In the end / is read-only, and over it lie

* overlays on /etc and /opt: the machine's files, with changes kept in the sandbox's own directory;
* the sandbox's own directories on /var/lib and /var/log, which outlive a reboot;
* fresh tmpfs on /run, /tmp and /dev/shm, which do not; fresh /proc, /sys, /dev/pts.

What podwire itself runs from (virtual environment, interpreter, checkout) is found again even where one of these hides
it, since a clone may well live below /tmp or on a mount of its own: the paths to **keep** are opened first and bound
back where they no longer lead to the same directory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from podwire.lab.sandbox import syscalls
from podwire.lab.sandbox.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC, MS_SLAVE

TMPFS = {
    "/run": ("mode=755", MS_NOSUID | MS_NODEV),
    "/tmp": ("mode=1777", MS_NOSUID | MS_NODEV),  # noqa: S108 (a mount point, not a file of ours)
    "/dev/shm": ("mode=1777", MS_NOSUID | MS_NODEV),  # noqa: S108
}
RUN_DIRECTORIES = {"/run/lock": 0o1777, "/run/netns": 0o755, "/run/user": 0o755}

BOOT_ID = "/run/boot_id"


class Held:
    """Directories held open, so that they can be bound again after their path was hidden."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._fds = {path: os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in dict.fromkeys(paths)}

    def bind(self, source: str, target: str, *, read_only: bool = False) -> None:
        """Bind the directory that *source* led to at first onto *target*."""
        os.makedirs(target, exist_ok=True)  # noqa: PTH103 (pathlib costs the init its start-up)
        syscalls.bind(f"/proc/self/fd/{self._fds[source]}", target, recursive=True, read_only=read_only)

    def lost(self, path: str) -> bool:
        """Whether *path* no longer leads to the directory held."""
        try:
            now = os.stat(path)  # noqa: PTH116
        except OSError:
            return True
        then = os.fstat(self._fds[path])
        return (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino)

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)


def build(
    *,
    hide: str,
    overlays: Mapping[str, tuple[str, str]],
    binds: Sequence[tuple[str, str]],
    keep: Sequence[str],
) -> None:
    """Make the view; the caller has just unshared its mount namespace.

    *hide* is the directory of all labs, whose mounts (pinned namespaces) are let go; *overlays* maps a directory to
    its (upper, work) directories; *binds* are (source, target); *keep* are paths that must lead where they led.
    """
    syscalls.mount(None, "/", None, MS_REC | MS_SLAVE)
    syscalls.unmount_below(hide)
    cgroups = ["/sys/fs/cgroup"] if os.path.isdir("/sys/fs/cgroup") else []  # noqa: PTH112
    held = Held([*(source for source, _ in binds), *keep, *cgroups])
    for target, (upper, work) in overlays.items():
        syscalls.mount("overlay", target, "overlay", 0, f"lowerdir={target},upperdir={upper},workdir={work}")
    for target, (options, flags) in TMPFS.items():
        syscalls.mount("tmpfs", target, "tmpfs", flags, options)
    for path, mode in RUN_DIRECTORIES.items():
        os.mkdir(path)  # noqa: PTH102
        os.chmod(path, mode)  # noqa: PTH101
    syscalls.mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for path in cgroups:
        held.bind(path, path)
    _optional("bpf", "/sys/fs/bpf", "bpf", "mode=700")
    _terminals()
    for source, target in binds:
        held.bind(source, target)
    for path in keep:
        if held.lost(path):
            held.bind(path, path, read_only=True)
    held.close()
    syscalls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _new_boot()
    syscalls.mount(None, "/", None, syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY)


def _new_boot() -> None:
    """A boot id of the sandbox's own: by it a Node's status and what lies in /run are told from those of last boot."""
    with open("/proc/sys/kernel/random/uuid") as fresh, open(BOOT_ID, "w") as file:
        file.write(fresh.read())
    syscalls.bind(BOOT_ID, "/proc/sys/kernel/random/boot_id", read_only=True)


def _terminals() -> None:
    """Pseudo-terminals of the sandbox's own, so that their numbers mean the same to all in it."""
    syscalls.mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5")
    syscalls.bind("/dev/pts/ptmx", "/dev/ptmx")


def _optional(source: str, target: str, kind: str, data: str) -> None:
    """Mount what not every kernel has."""
    if os.path.isdir(target):  # noqa: PTH112
        try:
            syscalls.mount(source, target, kind, MS_NOSUID | MS_NODEV | MS_NOEXEC, data)
        except OSError:
            pass
