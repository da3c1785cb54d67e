"""CNI_ARGS: ``KEY=value`` pairs, separated by semicolons (CNI specification 1.1.0, section 2; CONVENTIONS.md).

Kubernetes' runtimes name the pod in it. A key that we do not know is an error, unless ``IgnoreUnknown`` is true: then
whoever set it does not count on us.
"""

from __future__ import annotations

import msgspec

from podwire.cni import codes
from podwire.model.attachment import PodRef
from podwire.model.errors import CniError

_POD = ("K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID")
_KNOWN = frozenset((*_POD, "K8S_POD_INFRA_CONTAINER_ID", "IP", "MAC", "IgnoreUnknown"))
_TRUE, _FALSE = ("1", "true"), ("0", "false", "")


class Arguments(msgspec.Struct, frozen=True):
    """What we read of CNI_ARGS: *ips* and *mac* are text still: they are checked with the capability arguments."""

    pod: PodRef | None = None
    ips: tuple[str, ...] = ()
    mac: str = ""


def parse(text: str) -> Arguments:
    """Read CNI_ARGS; CniError 4 that names the pair. An empty *text* is fine."""
    pairs: dict[str, str] = {}
    for pair in text.split(";"):
        if not pair:
            continue
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise _wrong(pair, "is not KEY=value", "write CNI_ARGS like IP=10.244.1.5;IgnoreUnknown=1")
        pairs[key] = value
    ignore = pairs.get("IgnoreUnknown", "").lower()
    if ignore not in _TRUE and ignore not in _FALSE:
        raise _wrong(f"IgnoreUnknown={ignore}", "is neither true nor false", "write IgnoreUnknown=1")
    unknown = sorted(pairs.keys() - _KNOWN)
    if unknown and ignore in _FALSE:
        raise _wrong(
            f"{unknown[0]}={pairs[unknown[0]]}",
            "is not known to podwire",
            "remove it, or add IgnoreUnknown=1 if podwire may ignore it",
        )
    namespace, name, uid = (pairs.get(key, "") for key in _POD)
    return Arguments(
        pod=PodRef(namespace, name, uid) if namespace and name else None,
        ips=tuple(part.strip() for part in pairs.get("IP", "").split(",") if part.strip()),
        mac=pairs.get("MAC", ""),
    )


def _wrong(pair: str, problem: str, remedy: str) -> CniError:
    return CniError(codes.INVALID_ENVIRONMENT, f"CNI_ARGS: {pair[:80]!r} {problem}", remedy)
