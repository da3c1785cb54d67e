"""Pods as the kubelet reads them: the fields that it honours, decoded into structs. Source: Pod v1 core, Kubernetes 1.34."""

from __future__ import annotations

from typing import Any

import msgspec

from podwire.cluster.objects import Meta


class _Spec(msgspec.Struct, rename="camel", frozen=True):
    """What every struct here shares."""


class FieldRef(_Spec, frozen=True):
    """valueFrom.fieldRef."""

    field_path: str


class KeyRef(_Spec, frozen=True):
    """valueFrom.configMapKeyRef and secretKeyRef."""

    key: str
    name: str = ""
    optional: bool = False


class ValueFrom(_Spec, frozen=True):
    """Where an environment variable's value comes from."""

    field_ref: FieldRef | None = None
    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None
    resource_field_ref: dict[str, Any] | None = None


class EnvVar(_Spec, frozen=True):
    """An environment variable."""

    name: str
    value: str = ""
    value_from: ValueFrom | None = None


class SourceRef(_Spec, frozen=True):
    """A ConfigMap or Secret taken as a whole."""

    name: str = ""
    optional: bool = False


class EnvFrom(_Spec, frozen=True):
    """Every key of a ConfigMap or Secret as a variable."""

    prefix: str = ""
    config_map_ref: SourceRef | None = None
    secret_ref: SourceRef | None = None


class Port(_Spec, frozen=True):
    """A container's port: its name matters to probes, its host port to a plugin that can map ports."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0
    host_ip: str = msgspec.field(default="", name="hostIP")


class HttpHeader(_Spec, frozen=True):
    """A header that an HTTP probe sends."""

    name: str
    value: str


class HttpGet(_Spec, frozen=True):
    """An HTTP request to the pod."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocket(_Spec, frozen=True):
    """A connection to the pod."""

    port: int | str
    host: str = ""


class ExecAction(_Spec, frozen=True):
    """A command in the container."""

    command: tuple[str, ...] = ()


class Probe(_Spec, frozen=True):
    """A probe; times are seconds."""

    exec: ExecAction | None = None
    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: dict[str, Any] | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3


class Capabilities(_Spec, frozen=True):
    """Capabilities beyond, or less than, the usual ones."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SecurityContext(_Spec, frozen=True):
    """A container's, or as far as it goes a pod's, security context."""

    capabilities: Capabilities = Capabilities()
    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool = False
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool | None = None
    supplemental_groups: tuple[int, ...] = ()
    fs_group: int | None = None


class VolumeMount(_Spec, frozen=True):
    """Where a container sees a volume."""

    name: str
    mount_path: str
    sub_path: str = ""
    read_only: bool = False


class KeyToPath(_Spec, frozen=True):
    """A key of a ConfigMap as a file."""

    key: str
    path: str


class ObjectVolume(_Spec, frozen=True):
    """A ConfigMap or Secret as a directory."""

    name: str = ""
    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class HostPath(_Spec, frozen=True):
    """A path of the node."""

    path: str
    type: str = ""


class Volume(_Spec, frozen=True):
    """A volume of one of the kinds that the lab knows; all None: another."""

    name: str
    empty_dir: dict[str, Any] | None = None
    host_path: HostPath | None = None
    config_map: ObjectVolume | None = None
    secret: ObjectVolume | None = None


class Handler(_Spec, frozen=True):
    """What a lifecycle hook does."""

    exec: ExecAction | None = None


class Lifecycle(_Spec, frozen=True):
    """A container's hooks."""

    pre_stop: Handler | None = None


class Container(_Spec, frozen=True):
    """A container."""

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    working_dir: str = ""
    ports: tuple[Port, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    security_context: SecurityContext = SecurityContext()
    volume_mounts: tuple[VolumeMount, ...] = ()
    lifecycle: Lifecycle = Lifecycle()
    restart_policy: str = ""


class HostAlias(_Spec, frozen=True):
    """A line of /etc/hosts."""

    ip: str
    hostnames: tuple[str, ...] = ()


class DnsOption(_Spec, frozen=True):
    """An option of resolv.conf."""

    name: str
    value: str = ""


class DnsConfig(_Spec, frozen=True):
    """Additions to resolv.conf."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[DnsOption, ...] = ()


class PodSpec(_Spec, frozen=True):
    """A pod's spec."""

    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    node_name: str = ""
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    host_network: bool = False
    host_pid: bool = msgspec.field(default=False, name="hostPID")
    host_ipc: bool = msgspec.field(default=False, name="hostIPC")
    hostname: str = ""
    subdomain: str = ""
    dns_policy: str = "ClusterFirst"
    dns_config: DnsConfig = DnsConfig()
    host_aliases: tuple[HostAlias, ...] = ()
    security_context: SecurityContext = SecurityContext()
    volumes: tuple[Volume, ...] = ()
    service_account_name: str = ""


class PodMeta(Meta, rename="camel"):
    """A pod's metadata."""

    deletion_grace_period_seconds: int | None = None
    generation: int = 0


class Pod(msgspec.Struct):
    """A pod; *status* stays as it came, since most of it is written back."""

    metadata: PodMeta
    spec: PodSpec
    status: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def key(self) -> str:
        """namespace/name, as messages call it."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def all_containers(self) -> tuple[Container, ...]:
        """Init containers first."""
        return self.spec.init_containers + self.spec.containers
