"""From a container of a pod's spec to what the runtime starts: every field that is honoured, in one place.

What cannot be honoured is refused with :class:`Refused`, whose reason and message end up in the container's status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from podwire.lab import images
from podwire.lab.kubelet.environment import PodFacts, Sources, environment, expand_all
from podwire.lab.kubelet.objects import Container, Pod
from podwire.lab.kubelet.runtime.messages import ContainerSpec, Mount
from podwire.lab.kubelet.runtime.syscalls import CAPABILITIES
from podwire.model.errors import InputError, LabError

_USUAL = "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP"
DEFAULT_CAPABILITIES = frozenset([*_USUAL.split(), "SETUID", "SYS_CHROOT"])
"""What containerd gives a container that asks for nothing."""


class Refused(LabError):
    """A container cannot be made; *reason* is the CamelCase word of its waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PodGround(msgspec.Struct, frozen=True):
    """What all containers of a pod stand on. *files* are mounts that every container gets; *volumes* go by name."""

    directory: Path
    logs: Path
    facts: PodFacts
    sources: Sources
    files: Sequence[Mount]
    volumes: Mapping[str, Path]
    visible: Sequence[str]


def container_spec(pod: Pod, container: Container, attempt: int, ground: PodGround) -> ContainerSpec:
    """What the runtime is told; makes the directories that it names. Raises Refused."""
    try:
        command = images.command_line(container.image, container.command, container.args)
    except images.Unresolvable as error:
        raise Refused("ErrImageNeverPull", str(error)) from None
    try:
        env = environment(pod, container, ground.facts, ground.sources, images.search_path(container.image))
        mounts = [*ground.files, *_mounts(container, ground.volumes)]
        security = _security(pod, container)
    except InputError as error:
        raise Refused("CreateContainerConfigError", str(error)) from None
    staging = ground.directory / "roots" / container.name
    staging.mkdir(mode=0o755, parents=True, exist_ok=True)
    logs = ground.logs / container.name
    logs.mkdir(mode=0o755, parents=True, exist_ok=True)
    return ContainerSpec(
        name=container.name,
        attempt=attempt,
        argv=expand_all(command, env),
        env=env,
        cwd=container.working_dir,
        staging=str(staging),
        visible=list(ground.visible),
        mounts=mounts,
        overlay=True,
        log=str(logs / f"{attempt}.log"),
        capabilities=sorted(security.capabilities),
        privileged=security.privileged,
        no_new_privileges=security.no_new_privileges,
        read_only_root=security.read_only_root,
        uid=security.uid,
        gid=security.gid,
        groups=sorted(security.groups),
    )


class _Security(msgspec.Struct):
    capabilities: set[str]
    privileged: bool
    no_new_privileges: bool
    read_only_root: bool
    uid: int
    gid: int
    groups: set[int]


def _security(pod: Pod, container: Container) -> _Security:
    own, of_pod = container.security_context, pod.spec.security_context
    if pod.spec.host_pid:
        raise InputError("hostPID", True, "is not possible: a container could outlive its pod")
    uid = next((value for value in (own.run_as_user, of_pod.run_as_user) if value is not None), 0)
    gid = next((value for value in (own.run_as_group, of_pod.run_as_group) if value is not None), 0)
    if uid == 0 and (own.run_as_non_root or of_pod.run_as_non_root):
        raise InputError("runAsNonRoot", True, "forbids root, and no runAsUser says who else")
    return _Security(
        capabilities=_capabilities(own.capabilities.add, own.capabilities.drop),
        privileged=own.privileged,
        no_new_privileges=own.allow_privilege_escalation is False,
        read_only_root=own.read_only_root_filesystem,
        uid=uid,
        gid=gid,
        groups={*of_pod.supplemental_groups, *([of_pod.fs_group] if of_pod.fs_group else [])},
    )


def _capabilities(add: Sequence[str], drop: Sequence[str]) -> set[str]:
    def names(words: Sequence[str]) -> set[str]:
        chosen = {word.upper().removeprefix("CAP_") for word in words}
        unknown = chosen - {*CAPABILITIES, "ALL"}
        if unknown:
            raise InputError("capabilities", sorted(unknown)[0], "is not a capability of Linux")
        return set(CAPABILITIES) if "ALL" in chosen else chosen

    added = names(add)
    return (set(DEFAULT_CAPABILITIES) - names(drop)) | added


def _mounts(container: Container, volumes: Mapping[str, Path]) -> list[Mount]:
    mounts = []
    for entry in container.volume_mounts:
        if entry.name not in volumes:
            raise InputError("volumeMounts", entry.name, "is not a volume of the pod")
        source = volumes[entry.name] / entry.sub_path
        if ".." in Path(entry.sub_path).parts:
            raise InputError("volumeMounts.subPath", entry.sub_path, "leads out of the volume")
        if entry.sub_path and not source.exists():
            source.mkdir(parents=True)
        mounts.append(Mount(source=str(source), target=entry.mount_path, read_only=entry.read_only))
    return mounts


def visible_paths(mountinfo: str, wanted: Sequence[str]) -> list[str]:
    """Which of the directories *wanted* a container would not see through its root: those not on the root's own mount.

    *mountinfo* is the text of /proc/self/mountinfo. What lies below a directory that every container has to itself
    (/tmp, /run, /dev) is hidden even when it is on the root's mount.
    """
    points = [line.split(" ", 5)[4].replace("\\040", " ") for line in mountinfo.splitlines()]

    def hidden(path: str) -> bool:
        on = max((point for point in points if _below(path, point)), key=len, default="/")
        return on != "/" or any(_below(path, private) for private in ("/tmp", "/run", "/dev"))  # noqa: S108

    return [path for path in wanted if hidden(path)]


def _below(path: str, parent: str) -> bool:
    return path == parent or path.startswith(parent.rstrip("/") + "/")
