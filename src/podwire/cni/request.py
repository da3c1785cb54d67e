"""From a raw request (environment and stdin) to the typed request of a verb, or a CniError that says what is wrong.

DEL reads as little as it can: what it does not need cannot keep it from cleaning up.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from podwire.cni import arguments, codes, configuration, result
from podwire.cni.configuration import NAME
from podwire.cni.protocol import RawRequest
from podwire.cni.result import Result
from podwire.model.addresses import IPAddress
from podwire.model.attachment import AttachmentKey, PodRef
from podwire.model.errors import CniError

COMMANDS = ("ADD", "DEL", "CHECK", "GC", "STATUS")

_MAX_IFNAME = 15
_RESERVED_IFNAMES = frozenset({".", "..", "lo", "all", "default"})


class AddRequest(msgspec.Struct, frozen=True):
    """ADD. *netns* is CNI_NETNS; *ips* holds at most one address per IP family; *mac* is empty or normalised."""

    key: AttachmentKey
    netns: str
    pod: PodRef | None = None
    ips: tuple[IPAddress, ...] = ()
    mac: str = ""
    previous: Result | None = None


class DelRequest(msgspec.Struct, frozen=True):
    """DEL. From the spool it has *asked_at*, seconds since the epoch: an attachment made later is not meant."""

    key: AttachmentKey
    asked_at: float | None = None


class CheckRequest(msgspec.Struct, frozen=True):
    """CHECK. *previous* is the result of the whole chain's ADD."""

    key: AttachmentKey
    netns: str
    previous: Result


class GcRequest(msgspec.Struct, frozen=True):
    """GC. *valid* are the attachments of *network* that the runtime still has; None if it did not say."""

    network: str
    valid: frozenset[AttachmentKey] | None


class StatusRequest(msgspec.Struct, frozen=True):
    """STATUS."""

    network: str


Request: TypeAlias = AddRequest | DelRequest | CheckRequest | GcRequest | StatusRequest


def parse(raw: RawRequest) -> Request:
    """The request of a verb. Raises CniError 1, 2, 4, 6 or 7."""
    command = raw.env.get("CNI_COMMAND", "")
    if command not in COMMANDS:
        raise _environment("CNI_COMMAND", command, "is no verb", f"use one of {', '.join(COMMANDS)}, VERSION")
    network = configuration.identity(command, raw.stdin).name
    if command == "STATUS":
        return StatusRequest(network)
    if command == "GC":
        listed = configuration.valid_attachments(raw.stdin)
        if listed is None:
            return GcRequest(network, None)
        return GcRequest(network, frozenset(AttachmentKey(network, item.container_id, item.ifname) for item in listed))
    key = AttachmentKey(network, _container_id(raw.env), _ifname(raw.env))
    if command == "DEL":
        return DelRequest(key)
    netns = _netns(raw.env)
    found = configuration.configuration(raw.stdin)
    raw_previous = bytes(found.prev_result)
    previous = None if raw_previous in (b"", b"null") else result.parse(raw_previous)
    if command == "CHECK":
        if previous is None:
            raise configuration.invalid("prevResult", None, "is missing", "CHECK needs the result of ADD")
        return CheckRequest(key, netns, previous)
    args = arguments.parse(_text(raw.env, "CNI_ARGS"))
    ips = configuration.requested_ips(found, args.ips)
    return AddRequest(key, netns, args.pod, ips, configuration.requested_mac(found, args.mac), previous)


def _text(env: dict[str, str], variable: str) -> str:
    """The variable's value, which must be printable: undecodable bytes and control characters end here."""
    value = env.get(variable, "")
    if not value.isprintable():
        raise _environment(variable, value, "contains control characters or is not UTF-8", "the runtime must set it")
    return value


def _container_id(env: dict[str, str]) -> str:
    value = _text(env, "CNI_CONTAINERID")
    if not NAME.fullmatch(value):
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
            "CNI_IFNAME", value, "is no interface name", f"use 1 to {_MAX_IFNAME} bytes without / : % or blanks"
        )
    return value


def _netns(env: dict[str, str]) -> str:
    value = _text(env, "CNI_NETNS")
    if not value:
        raise _environment("CNI_NETNS", value, "is missing", "set it to the path of the pod's network namespace")
    return value


def _environment(variable: str, value: str, problem: str, remedy: str) -> CniError:
    return CniError(codes.INVALID_ENVIRONMENT, f"{variable}: {value[:80]!r} {problem}", remedy)
