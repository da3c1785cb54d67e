"""From a raw request (environment and stdin) to the typed request of a verb, or a CniError that says what is wrong.

DEL reads as little as it can: what it does not need cannot keep it from cleaning up.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from podwire.cni import arguments, codes, result
from podwire.cni.protocol import RawRequest
from podwire.cni.result import Result
from podwire.model.addresses import IPAddress, interface
from podwire.model.attachment import AttachmentKey, PodRef
from podwire.model.errors import CniError, InputError

COMMANDS = ("ADD", "DEL", "CHECK", "GC", "STATUS")
_SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
"""The cniVersion that brought a verb (the others were always there)."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_MAX_IFNAME = 15
_RESERVED_IFNAMES = frozenset({".", "..", "lo", "all", "default"})
_T = TypeVar("_T")


class AddRequest(msgspec.Struct, frozen=True):
    """ADD. *netns* is CNI_NETNS; *ips* holds at most one address per IP family; *mac* is empty or normalised."""

    key: AttachmentKey
    netns: str
    pod: PodRef | None = None
    ips: tuple[IPAddress, ...] = ()
    mac: str = ""
    previous: Result | None = None


class DelRequest(msgspec.Struct, frozen=True):
    """DEL."""

    key: AttachmentKey


class CheckRequest(msgspec.Struct, frozen=True):
    """CHECK. *previous* is the result of the whole chain's ADD."""

    key: AttachmentKey
    netns: str
    previous: Result


class GcRequest(msgspec.Struct, frozen=True):
    """GC. *valid* are the attachments of *network* that the runtime still has."""

    network: str
    valid: frozenset[AttachmentKey]


class StatusRequest(msgspec.Struct, frozen=True):
    """STATUS."""

    network: str


Request = AddRequest | DelRequest | CheckRequest | GcRequest | StatusRequest


class _Identity(msgspec.Struct, rename="camel"):
    cni_version: str = ""
    name: str = ""


class _RuntimeConfig(msgspec.Struct):
    ips: tuple[str, ...] | None = None
    mac: str | None = None


class _CniArgs(msgspec.Struct):
    ips: tuple[str, ...] | None = None


class _Args(msgspec.Struct):
    cni: _CniArgs | None = None


class _Ipam(msgspec.Struct):
    type: str = ""


class _Configuration(msgspec.Struct, rename="camel"):
    """The network configuration (specification section 1), as far as we read it; other keys are others' business."""

    runtime_config: _RuntimeConfig | None = None
    args: _Args | None = None
    ipam: _Ipam | None = None
    prev_result: msgspec.Raw | None = None


class _Valid(msgspec.Struct):
    container_id: str = msgspec.field(name="containerID")
    ifname: str


class _GcConfiguration(msgspec.Struct):
    valid: tuple[_Valid, ...] | None = msgspec.field(name="cni.dev/valid-attachments")


_identity = msgspec.json.Decoder(_Identity)
_configuration = msgspec.json.Decoder(_Configuration)
_gc_configuration = msgspec.json.Decoder(_GcConfiguration)


def version_of(stdin: bytes) -> str:
    """The cniVersion to answer an error in: that of the configuration if it is one of ours, else the newest."""
    try:
        found = _identity.decode(stdin).cni_version
    except msgspec.DecodeError:
        return result.NEWEST
    return found if found in result.VERSIONS else result.NEWEST


def parse(raw: RawRequest) -> Request:
    """The request of a verb. Raises CniError 1, 2, 4, 6 or 7."""
    command = raw.env.get("CNI_COMMAND", "")
    if command not in COMMANDS:
        raise _environment("CNI_COMMAND", command, "is no verb", f"use one of {', '.join(COMMANDS)}, VERSION")
    identity = _decode(_identity, raw.stdin)
    _check_version(command, identity.cni_version)
    if not _NAME.fullmatch(identity.name):
        raise _config(
            "name", identity.name, "is no network name", "begin with a letter or digit; then letters, digits, . _ -"
        )
    if command == "STATUS":
        return StatusRequest(identity.name)
    if command == "GC":
        return _gc(identity.name, raw)
    key = AttachmentKey(identity.name, _container_id(raw.env), _ifname(raw.env))
    if command == "DEL":
        return DelRequest(key)
    configuration = _decode(_configuration, raw.stdin)
    previous = None if configuration.prev_result in (None, b"null") else result.parse(bytes(configuration.prev_result))
    if command == "CHECK":
        if previous is None:
            raise _config("prevResult", None, "is missing", "CHECK needs the result of ADD (specification 1.1.0)")
        return CheckRequest(key, _netns(raw.env), previous)
    return _add(key, raw, configuration, previous)


def _add(key: AttachmentKey, raw: RawRequest, configuration: _Configuration, previous: Result | None) -> AddRequest:
    if configuration.ipam is not None and configuration.ipam.type:
        raise CniError(
            codes.UNSUPPORTED_FIELD,
            f"ipam.type: {configuration.ipam.type!r} is not supported",
            "podwire allocates addresses from the node's pod CIDRs itself: remove the key ipam",
        )
    args = arguments.parse(_text(raw.env, "CNI_ARGS"))
    runtime = configuration.runtime_config or _RuntimeConfig()
    conventional = configuration.args.cni if configuration.args else None
    ips = _requested_ips(
        ("runtimeConfig.ips", runtime.ips or ()),
        ("args.cni.ips", (conventional and conventional.ips) or ()),
        ("CNI_ARGS IP", args.ips),
    )
    mac = _mac("runtimeConfig.mac", runtime.mac) if runtime.mac else _mac("CNI_ARGS MAC", args.mac)
    return AddRequest(key, _netns(raw.env), args.pod, ips, mac, previous)


def _gc(network: str, raw: RawRequest) -> GcRequest:
    listed = _decode(_gc_configuration, raw.stdin).valid or ()
    return GcRequest(network, frozenset(AttachmentKey(network, item.container_id, item.ifname) for item in listed))


def _check_version(command: str, version: str) -> None:
    if version not in result.VERSIONS:
        raise CniError(
            codes.INCOMPATIBLE_VERSION,
            f"cniVersion: {version!r} is not supported",
            f"podwire supports {', '.join(result.VERSIONS)}: set cniVersion in the network configuration to one of them",
        )
    since = _SINCE.get(command)
    if since is not None and result.VERSIONS.index(version) < result.VERSIONS.index(since):
        raise CniError(
            codes.INCOMPATIBLE_VERSION,
            f"cniVersion: {version!r} has no {command}",
            f"{command} came with {since}: use that or a later cniVersion",
        )


def _text(env: dict[str, str], variable: str) -> str:
    """The variable's value, which must be printable: undecodable bytes and control characters end here."""
    value = env.get(variable, "")
    if not value.isprintable():
        raise _environment(variable, value, "contains control characters or is not UTF-8", "the runtime must set it")
    return value


def _container_id(env: dict[str, str]) -> str:
    value = _text(env, "CNI_CONTAINERID")
    if not _NAME.fullmatch(value):
        raise _environment(
            "CNI_CONTAINERID", value, "is no container id", "begin with a letter or digit; then letters, digits, . _ -"
        )
    return value


def _ifname(env: dict[str, str]) -> str:
    """The rules of the specification, and the kernel's: '%' would be a pattern, 'all' and 'default' are sysctls'."""
    value = _text(env, "CNI_IFNAME")
    if (
        not 0 < len(value.encode()) <= _MAX_IFNAME
        or value in _RESERVED_IFNAMES
        or any(char in "/:%" or char.isspace() for char in value)
    ):
        raise _environment(
            "CNI_IFNAME",
            value,
            "is no interface name",
            f"use 1 to {_MAX_IFNAME} bytes without / : % or blanks, e.g. eth0",
        )
    return value


def _netns(env: dict[str, str]) -> str:
    value = _text(env, "CNI_NETNS")
    if not value:
        raise _environment("CNI_NETNS", value, "is missing", "set it to the path of the pod's network namespace")
    return value


def _requested_ips(*sources: tuple[str, tuple[str, ...]]) -> tuple[IPAddress, ...]:
    """The addresses that any of the sources asks for; one address from two sources is one."""
    found: dict[int, IPAddress] = {}
    for field, texts in sources:
        for text in texts:
            try:
                addr = interface(text, field).ip
            except InputError as error:
                raise CniError(codes.INVALID_CONFIG, error.message, error.remedy) from None
            if found.setdefault(addr.version, addr) != addr:
                raise _config(
                    field, text, f"is a second IPv{addr.version} address beside {found[addr.version]}",
                    "ask for at most one address per IP family",
                )  # fmt: skip
    return tuple(found.values())


def _mac(field: str, text: str) -> str:
    """*text* in lower case with colons; empty stays empty. It must be a unicast address (IEEE 802, I/G bit)."""
    normal = text.lower().replace("-", ":")
    if normal and (not _MAC.fullmatch(normal) or int(normal[:2], 16) & 1 or normal == "00:00:00:00:00:00"):
        raise _config(field, text, "is no unicast MAC address", "write it like 02:11:22:33:44:55")
    return normal


def _decode(decoder: msgspec.json.Decoder[_T], stdin: bytes) -> _T:
    try:
        return decoder.decode(stdin)
    except msgspec.ValidationError as error:
        raise CniError(
            codes.INVALID_CONFIG,
            f"network configuration: {error}",
            "compare it with the conflist that podwire installs",
        ) from None
    except (msgspec.DecodeError, RecursionError) as error:
        shown = stdin[:40].decode("ascii", "backslashreplace")
        raise CniError(
            codes.DECODING_FAILURE,
            f"network configuration: stdin is no JSON ({error or 'nested too deep'}): {shown!r}",
            "the runtime must write the network configuration to stdin",
        ) from None


def _environment(variable: str, value: str, problem: str, remedy: str) -> CniError:
    return CniError(codes.INVALID_ENVIRONMENT, f"{variable}: {value[:80]!r} {problem}", remedy)


def _config(field: str, value: str | None, problem: str, remedy: str) -> CniError:
    error = InputError(field, value, problem, remedy=remedy)
    return CniError(codes.INVALID_CONFIG, error.message, error.remedy)
