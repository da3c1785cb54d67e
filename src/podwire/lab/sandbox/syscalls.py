"""The few system calls that Python 3.11 lacks: mount, umount2, unshare, sethostname. Failures are OSError."""

from __future__ import annotations

import ctypes
import os

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _text(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    result = _libc.mount(_text(source), _text(target), _text(kind), ctypes.c_ulong(flags), _text(data))
    _checked(result, f"mount {kind or source or 'propagation'} on {target}")


def bind(source: str, target: str, *, recursive: bool = False, read_only: bool = False) -> None:
    """Bind *source* onto *target*; *read_only* holds for the new mount alone, not for what is mounted below it."""
    mount(source, target, None, MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY)


def unmount(target: str, flags: int = MNT_DETACH | UMOUNT_NOFOLLOW) -> None:
    """umount2(2), lazily unless told otherwise."""
    _checked(_libc.umount2(_text(target), flags), f"unmount {target}")


def unshare(flags: int) -> None:
    """unshare(2); CLONE_NEWPID takes effect for the children."""
    _checked(_libc.unshare(flags), "unshare")


def set_hostname(name: str) -> None:
    """sethostname(2), of the calling process's uts namespace."""
    raw = os.fsencode(name)
    _checked(_libc.sethostname(raw, len(raw)), f"set host name {name}")


def mount_points(below: str) -> list[str]:
    """Where something is mounted at or below a path, in the order of mounting; repeated if mounted over."""
    found = []
    with open("/proc/thread-self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            point = _unescape(line.split(" ", 5)[4])
            if point == below or point.startswith(below.rstrip("/") + "/"):
                found.append(point)
    return found


def unmount_below(path: str) -> int:
    """Unmount everything at and below *path*, latest first; how many mounts there were."""
    points = mount_points(path)
    for point in reversed(points):
        try:
            unmount(point)
        except OSError as error:
            if error.errno not in (2, 22):  # ENOENT, EINVAL: it went with the one above it
                raise
    return len(points)


def _unescape(text: str) -> str:
    """Undo mountinfo's octal escapes of blanks and backslashes (proc(5))."""
    if "\\" not in text:
        return text
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
