"""The network configuration on stdin (CNI specification 1.1.0, section 1), as far as podwire reads it.

Keys that are not read here are others' business and left alone, but for ``ipam``: whoever sets it expects it to act.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from podwire.cni import codes, result
from podwire.model.addresses import IPAddress, interface
from podwire.model.errors import CniError, InputError

SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
"""The cniVersion that brought a verb (the others were always there)."""

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
"""Of a network and of a container id."""

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_T = TypeVar("_T")


class Identity(msgspec.Struct, rename="camel"):
    """What every verb needs."""

    cni_version: str = ""
    name: str = ""


class RuntimeConfig(msgspec.Struct):
    """Capability arguments (CONVENTIONS.md): those that our conflist declares."""

    ips: tuple[str, ...] | None = None
    mac: str | None = None


class CniArgs(msgspec.Struct):
    """``args.cni`` (CONVENTIONS.md)."""

    ips: tuple[str, ...] | None = None


class Args(msgspec.Struct):
    """``args``."""

    cni: CniArgs | None = None


class Ipam(msgspec.Struct):
    """``ipam``, which podwire does not delegate to."""

    type: str = ""


class Configuration(msgspec.Struct, rename="camel"):
    """What ADD and CHECK need beside the identity."""

    runtime_config: RuntimeConfig | None = None
    args: Args | None = None
    ipam: Ipam | None = None
    prev_result: msgspec.Raw = msgspec.Raw()


class ValidAttachment(msgspec.Struct):
    """An attachment that the runtime still has."""

    container_id: str = msgspec.field(name="containerID")
    ifname: str


class GcConfiguration(msgspec.Struct):
    """What GC needs beside the identity. A missing key must not read as "none is valid"."""

    valid: tuple[ValidAttachment, ...] | msgspec.UnsetType | None = msgspec.field(
        name="cni.dev/valid-attachments", default=msgspec.UNSET
    )


_identity = msgspec.json.Decoder(Identity)
_configuration = msgspec.json.Decoder(Configuration)
_gc = msgspec.json.Decoder(GcConfiguration)


def version_of(stdin: bytes) -> str:
    """The cniVersion to answer an error in: that of the configuration if it is one of ours, else the newest."""
    try:
        found = _identity.decode(stdin).cni_version
    except (msgspec.DecodeError, RecursionError):
        return result.NEWEST
    return found if found in result.VERSIONS else result.NEWEST


def identity(command: str, stdin: bytes) -> Identity:
    """The network's name and cniVersion, of which podwire speaks the latter and it has *command*."""
    found = _decode(_identity, stdin)
    _check_version(command, found.cni_version)
    if not NAME.fullmatch(found.name):
        raise invalid(
            "name", found.name, "is no network name", "begin with a letter or digit; then letters, digits, . _ -"
        )
    return found


def configuration(stdin: bytes) -> Configuration:
    """The rest of the configuration, for ADD and CHECK."""
    found = _decode(_configuration, stdin)
    if found.ipam is not None and found.ipam.type:
        raise CniError(
            codes.UNSUPPORTED_FIELD,
            f"ipam.type: {found.ipam.type!r} is not supported",
            "podwire allocates addresses from the node's pod CIDRs itself: remove the key ipam",
        )
    return found


def valid_attachments(stdin: bytes) -> tuple[ValidAttachment, ...] | None:
    """``cni.dev/valid-attachments`` of GC; null is what Go's encoder writes for an empty list.

    None when the key is missing, as cnitool sends it: the runtime does not testify.
    """
    valid = _decode(_gc, stdin).valid
    return None if valid is msgspec.UNSET else valid or ()


def requested_ips(found: Configuration, from_args: tuple[str, ...]) -> tuple[IPAddress, ...]:
    """The addresses that any source asks for, at most one per IP family; one address from two sources is one."""
    runtime, conventional = found.runtime_config, found.args and found.args.cni
    sources = (
        ("runtimeConfig.ips", runtime.ips if runtime else None),
        ("args.cni.ips", conventional.ips if conventional else None),
        ("CNI_ARGS IP", from_args),
    )
    chosen: dict[int, IPAddress] = {}
    for field, text in ((field, text) for field, texts in sources for text in texts or ()):
        try:
            addr = interface(text, field).ip
        except InputError as error:
            raise CniError(codes.INVALID_CONFIG, error.message, error.remedy) from None
        first = chosen.setdefault(addr.version, addr)
        if first != addr:
            raise invalid(
                field,
                text,
                f"is a second IPv{addr.version} address beside {first}",
                "ask for at most one per IP family",
            )
    return tuple(chosen.values())


def requested_mac(found: Configuration, from_args: str) -> str:
    """The MAC address asked for, in lower case with colons, or empty. Unicast only (IEEE 802, the I/G bit)."""
    runtime = found.runtime_config
    field, text = ("runtimeConfig.mac", runtime.mac) if runtime and runtime.mac else ("CNI_ARGS MAC", from_args)
    normal = text.lower().replace("-", ":")
    if normal and (not _MAC.fullmatch(normal) or int(normal[:2], 16) & 1 or normal == "00:00:00:00:00:00"):
        raise invalid(field, text, "is no unicast MAC address", "write it like 02:11:22:33:44:55")
    return normal


def invalid(field: str, value: str | None, problem: str, remedy: str) -> CniError:
    """Error 7 about *field*."""
    error = InputError(field, value, problem, remedy=remedy)
    return CniError(codes.INVALID_CONFIG, error.message, error.remedy)


def _check_version(command: str, version: str) -> None:
    if version not in result.VERSIONS:
        raise CniError(
            codes.INCOMPATIBLE_VERSION,
            f"cniVersion: {version[:40]!r} is not supported",
            f"podwire supports {', '.join(result.VERSIONS)}: set cniVersion to one of them",
        )
    since = SINCE.get(command, version)
    if result.VERSIONS.index(version) < result.VERSIONS.index(since):
        raise CniError(
            codes.INCOMPATIBLE_VERSION,
            f"cniVersion: {version!r} has no {command}",
            f"{command} came with {since}: use that or a later cniVersion",
        )


def _decode(decoder: msgspec.json.Decoder[_T], stdin: bytes) -> _T:
    try:
        return decoder.decode(stdin)
    except msgspec.ValidationError as error:
        raise CniError(
            codes.INVALID_CONFIG, f"network configuration: {error}", "compare it with the conflist of podwire"
        ) from None
    except (msgspec.DecodeError, RecursionError) as error:
        shown = stdin[:40].decode("ascii", "backslashreplace")
        raise CniError(
            codes.DECODING_FAILURE,
            f"network configuration: stdin is no JSON ({error or 'nested too deep'}): {shown!r}",
            "the runtime must write the network configuration to stdin",
        ) from None
