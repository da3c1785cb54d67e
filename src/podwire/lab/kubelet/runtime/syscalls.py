"""System calls of a container beyond those of the node's sandbox (``lab.sandbox.syscalls``). Failures are OSError."""

from __future__ import annotations

import ctypes
import errno
import os

CLONE_NEWNET = 0x40000000

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522

CAPABILITIES = (  # noqa: SIM905 (a list of 41 strings is 41 lines)
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
"""Names by number, as capabilities(7) lists them, without the CAP_ prefix (as Kubernetes writes them)."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2): *new* becomes the root, the old root appears at *old*."""
    _check(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), f"make {new} the root")


def setns(fd: int, flags: int) -> None:
    """setns(2); *fd* may be a pidfd (Linux 5.8)."""
    _check(_libc.setns(fd, flags), f"join namespace {flags:#x}")


def die_with_parent(signal: int) -> None:
    """Have the kernel send *signal* when the parent dies. Cleared by a change of credentials: call it after those."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0), "set the parent-death signal")


def no_new_privileges() -> None:
    """From here on exec grants nothing, whatever the file's set-uid bit or capabilities."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs")


def drop_from_bounding_set(kept: set[str]) -> None:
    """Make every capability but *kept* unobtainable for this process and its children."""
    for number, name in enumerate(CAPABILITIES):
        refused = name not in kept and _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0
        if refused and ctypes.get_errno() != errno.EINVAL:  # EINVAL: this kernel is older than the capability
            raise OSError(ctypes.get_errno(), f"drop capability {name}")


def set_capabilities(wanted: set[str]) -> None:
    """Make *wanted*, as far as permitted now, the effective and permitted set; nothing is inheritable."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(header, data), "read capabilities")
    permitted = data[1] | data[4] << 32
    mask = sum(1 << number for number, name in enumerate(CAPABILITIES) if name in wanted) & permitted
    low, high = mask & 0xFFFFFFFF, mask >> 32
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)), "set capabilities")
