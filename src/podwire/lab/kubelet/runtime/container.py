"""From fork to exec: what the first process of a container does to itself.

Its root is an overlay of the node's root (a private, writable layer in memory that vanishes with the container), or
the node's root read-only where the kernel has no overlayfs. On that come fresh /proc, /sys, /dev, /tmp and /run, the
pod's own resolv.conf, hosts and volumes. Nothing is mounted where the node can see it.

This is what a lab needs to look like a container from inside, not a fence against hostile code: the node's files can
be read through the lower layer.
"""

# pathlib costs the supervisor as much start-up time as all its other imports together.
# ruff: noqa: PTH101, PTH102, PTH103, PTH110, PTH120, PTH211
from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import termios
from typing import NoReturn

from podwire.lab.kubelet.runtime import syscalls as sys_
from podwire.lab.kubelet.runtime.messages import ContainerSpec, Mount
from podwire.lab.sandbox.syscalls import (
    CLONE_NEWNS,
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SLAVE,
    bind,
    mount,
    unmount,
    unshare,
)

_LAYER_OPTIONS = "mode=0755,size=256m"
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_MASKED = ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug")
_NO_OVERLAY = (errno.ENODEV, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP)


class StageError(Exception):
    """*stage* of starting a container failed."""

    def __init__(self, stage: str, error: OSError) -> None:
        super().__init__(stage, error)
        self.stage = stage
        self.error = error


def become_container(spec: ContainerSpec) -> NoReturn:
    """Turn the calling process, the first of a new pid namespace, into the container's command."""
    stage = "make the mount namespace"
    os.umask(0o022)
    try:
        unshare(CLONE_NEWNS)
        mount(None, "/", None, MS_REC | MS_SLAVE)
        stage = "assemble the root"
        root = _make_root(spec["staging"], spec["overlay"])
        _mount_kernel_views(root, privileged=spec["privileged"])
        for path in spec["visible"]:
            os.makedirs(root + path, exist_ok=True)
            bind(path, root + path, read_only=True)
        stage = "mount the volumes"
        _enter_root(root, spec["mounts"])
        if spec["read_only_root"]:
            mount(None, "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY)
        stage = "enter the working directory"
        os.chdir(spec["cwd"] or "/")
    except OSError as error:
        raise StageError(stage, error) from error
    run_command(spec, spec["argv"])


def become_exec(spec: ContainerSpec, argv: list[str], pidfd: int, tty: bool) -> NoReturn:
    """Turn the calling process into *argv* inside the running container whose first process is *pidfd*."""
    try:
        sys_.setns(pidfd, CLONE_NEWNS)
        if tty:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.chdir(spec["cwd"] or "/")
    except OSError as error:
        raise StageError("join the container", error) from error
    env = {**spec["env"], "TERM": "xterm"} if tty and "TERM" not in spec["env"] else spec["env"]
    run_command({**spec, "env": env}, argv)


def run_command(spec: ContainerSpec, argv: list[str]) -> NoReturn:
    """Give up what the container may not have, then exec *argv*."""
    try:
        kept = set(sys_.CAPABILITIES) if spec["privileged"] else set(spec["capabilities"])
        sys_.drop_from_bounding_set(kept)
        os.setgroups(spec["groups"])
        os.setresgid(spec["gid"], spec["gid"], spec["gid"])
        os.setresuid(spec["uid"], spec["uid"], spec["uid"])
        if spec["uid"] == 0:
            sys_.set_capabilities(kept)
        if spec["no_new_privileges"]:
            sys_.no_new_privileges()
        sys_.die_with_parent(signal.SIGKILL)
    except OSError as error:
        raise StageError("give up privileges", error) from error
    os.umask(0o022)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvpe(argv[0], argv, spec["env"])  # noqa: S606 (no shell: the pod's author chose the command)
    except OSError as error:
        raise StageError("exec", error) from error


def _make_root(staging: str, overlay: bool) -> str:
    mount("tmpfs", staging, "tmpfs", MS_NODEV, _LAYER_OPTIONS)
    root, upper, work = (f"{staging}/{name}" for name in ("root", "upper", "work"))
    for path in (root, upper, work):
        os.mkdir(path, 0o755)
    if overlay:
        try:
            mount("overlay", root, "overlay", 0, f"lowerdir=/,upperdir={upper},workdir={work}")
            return root
        except OSError as error:
            if error.errno not in _NO_OVERLAY:
                raise
    bind("/", root, read_only=True)
    return root


def _mount_kernel_views(root: str, *, privileged: bool) -> None:
    quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC
    mount("proc", f"{root}/proc", "proc", quiet)
    mount("sysfs", f"{root}/sys", "sysfs", quiet | (0 if privileged else MS_RDONLY))
    mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=256m")  # noqa: S108
    mount("tmpfs", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64m")
    dev = f"{root}/dev"
    mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=0755,size=64k")
    for name, (major, minor) in _DEVICES.items():
        os.mknod(f"{dev}/{name}", 0o666 | stat.S_IFCHR, os.makedev(major, minor))
        os.chmod(f"{dev}/{name}", 0o666)  # noqa: S103 (as on every machine)
    for name in ("pts", "shm"):
        os.mkdir(f"{dev}/{name}", 0o755)
    mount("devpts", f"{dev}/pts", "devpts", MS_NOSUID, "newinstance,ptmxmode=0666,mode=0620,gid=5")
    mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=64m")
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd"}
    links |= {name: f"/proc/self/fd/{number}" for number, name in enumerate(("stdin", "stdout", "stderr"))}
    for name, target in links.items():
        os.symlink(target, f"{dev}/{name}")
    if not privileged:
        bind(f"{root}/proc/sys", f"{root}/proc/sys", read_only=True)
        for path in _MASKED:
            if os.path.exists(root + path):
                bind(f"{dev}/null", root + path, read_only=True)


def _enter_root(root: str, mounts: list[Mount]) -> None:
    """Pivot into *root*, mounting *mounts* while both trees can be reached.

    Sources are held by descriptor over the pivot, so that targets resolve inside the container, symbolic links and
    all (a machine's /etc/resolv.conf often is one), and sources outside.
    """
    sources = [os.open(entry["source"], os.O_PATH | os.O_CLOEXEC) for entry in mounts]
    os.chdir(root)
    sys_.pivot_root(".", ".")  # the old root now lies on top of the new one, see pivot_root(2), NOTES
    for fd, entry in zip(sources, mounts, strict=True):
        target = os.path.realpath(entry["target"])
        directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        os.makedirs(target if directory else os.path.dirname(target), exist_ok=True)
        if not directory and not os.path.lexists(target):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        bind(f"/proc/self/fd/{fd}", target, read_only=entry["read_only"], recursive=directory)
        os.close(fd)
    unmount(".", MNT_DETACH)
    os.chdir("/")
