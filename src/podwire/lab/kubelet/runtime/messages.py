"""What the kubelet and a pod's supervisor say to each other: one JSON object a line, on a unix stream socket.

A connection carries one request. ``op`` is one of::

    start   spec                → {"pid", "started_at"}                     or a Refusal
    signal  name, signal        → {"ok": bool}                              false: it does not run
    state                       → {"containers": {name: ContainerState}}
    watch                       → the same, and again whenever a container has ended, until the connection closes
    exec    name, argv, tty     → {"pid"}, later {"exit": Exit}             or a Refusal; with three descriptors
    quit                        → {"ok": true}; every container is killed and the supervisor ends

An ``exec`` whose connection closes is killed. Times are nanoseconds since the epoch.
"""

from __future__ import annotations

from typing import TypedDict


class Mount(TypedDict):
    """A file or directory of the node that the container sees at *target*."""

    source: str
    target: str
    read_only: bool


class ContainerSpec(TypedDict):
    """All that starting a container needs.

    *staging* is an empty directory of the node: the container's root is assembled on it, in a mount namespace of its
    own. *visible* are directories that lie on mounts of their own and must be seen, read-only, at the same place.
    *capabilities* are names without CAP_. *overlay* false gives a read-only root where the kernel has no overlayfs.
    """

    name: str
    attempt: int
    argv: list[str]
    env: dict[str, str]
    cwd: str
    staging: str
    visible: list[str]
    mounts: list[Mount]
    capabilities: list[str]
    privileged: bool
    no_new_privileges: bool
    read_only_root: bool
    overlay: bool
    uid: int
    gid: int
    groups: list[int]
    log: str


class Exit(TypedDict):
    """How a process ended: *code* is 128 + *signal* if a signal ended it, as a shell has it."""

    code: int
    signal: int
    finished_at: int


class ContainerState(TypedDict):
    """A container as the supervisor knows it; *exit* is None while it runs."""

    attempt: int
    pid: int
    started_at: int
    exit: Exit | None


class Refusal(TypedDict):
    """Why a process could not be started: the step that failed, its errno (0: none), and a sentence."""

    stage: str
    errno: int
    message: str


class SandboxSpec(TypedDict):
    """What a supervisor is started with, on stdin. *netns* is empty for a pod on the node's network."""

    pod: str
    dir: str
    hostname: str
    netns: str
