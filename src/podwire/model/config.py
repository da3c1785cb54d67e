"""The configuration: YAML, ``apiVersion: podwire.io/v1alpha1``, ``kind: Config``.

Text goes through :func:`parse`, which returns a :class:`Config` that is valid as a whole or raises a
:class:`~podwire.model.errors.ConfigError` that names the field, the value and the remedy. Each field's documentation
is the string in its ``Meta(description=…)``; ``podwire config explain`` prints it.
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import yaml

from podwire.model.addresses import IPNetwork, address, network, overlapping
from podwire.model.errors import ConfigError, InputError

API_VERSION = "podwire.io/v1alpha1"

Doc = msgspec.Meta


class VxlanConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Parameters of the vxlan backend; the same on every node."""

    vni: Annotated[int, Doc(ge=1, le=16777215, description="VXLAN network identifier, 1 to 16777215.")] = 4096
    port: Annotated[
        int, Doc(ge=1, le=65535, description="UDP port that carries the overlay; every node's firewall must let it in.")
    ] = 4789


class BackendConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How pods of different nodes reach each other."""

    type: Annotated[
        Literal["vxlan", "host-gw"],
        Doc(description="vxlan (any underlay) or host-gw (plain routes; nodes must share an L2 segment)."),
    ] = "vxlan"
    vxlan: VxlanConfig = msgspec.field(default_factory=VxlanConfig)


class MasqueradeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Source NAT of what pods send out of the cluster; never applied between pods."""

    enabled: Annotated[bool, Doc(description="Give pods' packets to the world the node's address.")] = True
    non_masquerade_cidrs: Annotated[
        tuple[str, ...], Doc(description="Destinations, beside the pod CIDRs, that see the pod's own address.")
    ] = ()


class IpamConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How addresses are handed out on a node."""

    cooldown_seconds: Annotated[
        float, Doc(ge=0, le=86400, description="How long a freed address rests before it may be given again, seconds.")
    ] = 30.0
    reserved: Annotated[
        tuple[str, ...], Doc(description="Addresses or CIDRs within the pod CIDRs that are never given to a pod.")
    ] = ()


class ClusterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The cluster's address plan."""

    pod_cidrs: Annotated[
        tuple[str, ...], Doc(min_length=1, max_length=2, description="Cluster CIDRs that node CIDRs are cut from.")
    ] = ("10.244.0.0/16",)
    node_mask_size_ipv4: Annotated[
        int, Doc(ge=8, le=30, description="Prefix length of a node's IPv4 pod CIDR; /24 holds 253 pods.")
    ] = 24
    node_mask_size_ipv6: Annotated[int, Doc(ge=16, le=126, description="Prefix length of a node's IPv6 pod CIDR.")] = 64
    service_cidrs: Annotated[
        tuple[str, ...], Doc(max_length=2, description="Service CIDRs; used to find overlaps, never routed.")
    ] = ("10.96.0.0/12",)


class CniConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where the container runtime looks for the plugin."""

    network: Annotated[
        str, Doc(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$", description="Network name in the conflist.")
    ] = "podwire"
    bin_dir: Annotated[str, Doc(description="Directory that gets the plugin's binary.")] = "/opt/cni/bin"
    conf_dir: Annotated[str, Doc(description="Directory that gets the conflist.")] = "/etc/cni/net.d"
    conf_name: Annotated[str, Doc(description="File name of the conflist.")] = "10-podwire.conflist"


class HealthConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The agent's TCP endpoint for /healthz, /readyz and /metrics."""

    bind: Annotated[str, Doc(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Doc(ge=0, le=65535, description="Port; 0 turns the endpoint off.")] = 9797


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """This node."""

    name: Annotated[str, Doc(description="Name of the Node object; empty: $NODE_NAME, else the host name.")] = ""
    address_cidrs: Annotated[
        tuple[str, ...],
        Doc(description="Pick node addresses from these CIDRs; empty: the addresses in the Node's status."),
    ] = ()


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """podwire's configuration of one node."""

    api_version: Annotated[str, Doc(description="Always podwire.io/v1alpha1.")] = API_VERSION
    kind: Annotated[str, Doc(description="Always Config.")] = "Config"
    node: NodeConfig = msgspec.field(default_factory=NodeConfig)
    cluster: ClusterConfig = msgspec.field(default_factory=ClusterConfig)
    backend: BackendConfig = msgspec.field(default_factory=BackendConfig)
    masquerade: MasqueradeConfig = msgspec.field(default_factory=MasqueradeConfig)
    ipam: IpamConfig = msgspec.field(default_factory=IpamConfig)
    cni: CniConfig = msgspec.field(default_factory=CniConfig)
    health: HealthConfig = msgspec.field(default_factory=HealthConfig)
    mtu: Annotated[
        int, Doc(ge=0, le=65535, description="MTU of pods' interfaces; 0: the underlay's, less the backend's overhead.")
    ] = 0
    run_dir: Annotated[
        str, Doc(description="Directory for the socket and the node's allocations; a tmpfs that a reboot empties.")
    ] = "/run/podwire"
    kubeconfig: Annotated[
        str, Doc(description="Path of a kubeconfig; empty: the service account mounted into the pod.")
    ] = ""
    resync_seconds: Annotated[
        float, Doc(ge=1, le=3600, description="How often the kernel is compared with the plan, seconds.")
    ] = 30.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Doc(description="Least severe level that is logged.")
    ] = "info"

    @property
    def pod_networks(self) -> tuple[IPNetwork, ...]:
        """The cluster's pod CIDRs, parsed."""
        return tuple(network(text, "cluster.podCidrs") for text in self.cluster.pod_cidrs)

    @property
    def service_networks(self) -> tuple[IPNetwork, ...]:
        """The Service CIDRs, parsed."""
        return tuple(network(text, "cluster.serviceCidrs") for text in self.cluster.service_cidrs)

    @property
    def non_masquerade_networks(self) -> tuple[IPNetwork, ...]:
        """The further destinations that see pods' own addresses, parsed."""
        return tuple(network(text, "masquerade.nonMasqueradeCidrs") for text in self.masquerade.non_masquerade_cidrs)

    @property
    def reserved_networks(self) -> tuple[IPNetwork, ...]:
        """The addresses that pods never get, each as a network."""
        return tuple(network(text, "ipam.reserved") for text in self.ipam.reserved)

    @property
    def socket_path(self) -> str:
        """The CNI socket, which the C binary knows by its default."""
        return f"{self.run_dir}/agent.sock"

    def node_mask(self, version: int) -> int:
        """Prefix length of a node's CIDR of an IP version."""
        return self.cluster.node_mask_size_ipv4 if version == 4 else self.cluster.node_mask_size_ipv6


def parse(text: str | bytes, source: str = "config") -> Config:
    """Parse and validate; *source* (a file name) opens every error message."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(source, None, f"is not YAML: {error}") from None
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError(source, raw, "is not a mapping", remedy="see `podwire config default`")
    _refuse_unknown(raw, Config, source, "")
    for key, expected in (("apiVersion", API_VERSION), ("kind", "Config")):
        if raw.get(key) != expected:
            raise ConfigError(
                f"{source}: {key}", raw.get(key), f"must be {expected}", remedy=f"write `{key}: {expected}`"
            )
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        field, problem = _explain(str(error))
        raise ConfigError(
            f"{source}: {field}", _lookup(raw, field), problem, remedy="see `podwire config explain`"
        ) from None
    try:
        _check(config)
    except InputError as error:
        raise ConfigError(f"{source}: {error.field}", error.value, error.problem, remedy=error.remedy) from None
    return config


def default_yaml() -> str:
    """The default configuration, as a file that :func:`parse` accepts and that means the same."""
    return yaml.safe_dump(msgspec.to_builtins(Config()), sort_keys=False, default_flow_style=False)


def explain() -> list[tuple[str, str, str, str]]:
    """Every field as (path, type, default, description), in order."""
    rows: list[tuple[str, str, str, str]] = []
    _explain_struct(Config, "", rows)
    return rows


def _check(config: Config) -> None:
    """What no single field can tell."""
    pods = config.pod_networks
    if len(pods) == 2 and pods[0].version == pods[1].version:
        raise InputError(
            "cluster.podCidrs",
            list(config.cluster.pod_cidrs),
            "holds two CIDRs of one family",
            remedy="give at most one IPv4 and one IPv6 CIDR",
        )
    for net in pods:
        mask = config.node_mask(net.version)
        name = f"cluster.nodeMaskSizeIpv{net.version}"
        if mask < net.prefixlen:
            raise InputError(
                name,
                mask,
                f"is shorter than the pod CIDR {net}",
                remedy=f"use {net.prefixlen} or more, or a larger pod CIDR",
            )
        if mask - net.prefixlen > 16:
            raise InputError(
                name, mask, f"cuts {net} into more than 65536 node CIDRs", remedy=f"use at most {net.prefixlen + 16}"
            )
        if net.is_multicast or net.is_loopback or net.is_link_local or net.is_unspecified:
            raise InputError(
                "cluster.podCidrs",
                str(net),
                "is not a unicast range",
                remedy="use a private range such as 10.244.0.0/16",
            )
        for service in config.service_networks:
            if overlapping(net, service):
                raise InputError(
                    "cluster.serviceCidrs",
                    str(service),
                    f"overlaps the pod CIDR {net}",
                    remedy="choose ranges that share no address",
                )
    for reserved in config.reserved_networks:
        if not any(overlapping(reserved, net) for net in pods):
            raise InputError("ipam.reserved", str(reserved), "lies in no pod CIDR", remedy="remove it")
    _check_node(config)


def _check_node(config: Config) -> None:
    _ = config.non_masquerade_networks
    for text in config.node.address_cidrs:
        network(text, "node.addressCidrs")
    if config.health.bind:
        address(config.health.bind, "health.bind")
    for name, path in (
        ("cni.binDir", config.cni.bin_dir),
        ("cni.confDir", config.cni.conf_dir),
        ("runDir", config.run_dir),
    ):
        if not path.startswith("/"):
            raise InputError(name, path, "is not an absolute path", remedy="begin it with /")
    if len(config.socket_path.encode()) > 100:
        raise InputError("runDir", config.run_dir, "is too long for a unix socket", remedy="use at most 80 characters")
    if config.mtu and config.mtu < (1280 if any(net.version == 6 for net in config.pod_networks) else 576):
        raise InputError(
            "mtu", config.mtu, "is below what IP requires", remedy="use 0 to have it found out, or 1280 and up"
        )


def _refuse_unknown(raw: dict[Any, Any], struct: type[msgspec.Struct], source: str, path: str) -> None:
    known = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    hints = get_type_hints(struct)
    for key, value in raw.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            remedy = f"did you mean {path}{near[0]}?" if near else f"known here: {', '.join(known)}"
            raise ConfigError(f"{source}: {path}{key}", None, "unknown key", remedy=remedy)
        inner = hints[known[key].name]
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and isinstance(value, dict):
            _refuse_unknown(value, inner, source, f"{path}{key}.")


def _explain(message: str) -> tuple[str, str]:
    """Split msgspec's ``Expected … - at `$.a.b``` into the field's path and the problem."""
    match = re.fullmatch(r"(?P<problem>.*?)(?: - at `\$\.?(?P<field>.*)`)?", message, re.DOTALL)
    if match is None:
        return "", message
    problem = match["problem"]
    problem = problem[:1].lower() + problem[1:]
    return match["field"] or "(top)", f"is refused: {problem}"


def _lookup(raw: Any, path: str) -> object:
    for part in path.split("."):
        if not isinstance(raw, dict) or part not in raw:
            return raw if not isinstance(raw, dict) else None
        raw = raw[part]
    return raw


def _explain_struct(struct: type[msgspec.Struct], path: str, rows: list[tuple[str, str, str, str]]) -> None:
    hints = get_type_hints(struct, include_extras=True)
    defaults = struct()
    for field in msgspec.structs.fields(struct):
        hint, description = hints[field.name], ""
        if get_origin(hint) is Annotated:
            hint, *metas = get_args(hint)
            description = next((meta.description or "" for meta in metas if isinstance(meta, msgspec.Meta)), "")
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            rows.append((f"{path}{field.encode_name}", "object", "", (hint.__doc__ or "").split("\n")[0]))
            _explain_struct(hint, f"{path}{field.encode_name}.", rows)
            continue
        default = getattr(defaults, field.name)
        shown = list(default) if isinstance(default, tuple) else default
        rows.append((f"{path}{field.encode_name}", _type_name(hint), str(shown), description))


def _type_name(hint: object) -> str:
    if get_origin(hint) is Literal:
        return " | ".join(str(option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return "list of strings"
    return {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}.get(
        getattr(hint, "__name__", ""), str(hint)
    )
