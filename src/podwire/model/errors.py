"""The error tree.

Every error that podwire raises on purpose stands below one root, so that a caller can tell our refusals from bugs::

    PodwireError
    ├── InputError          what a user or another program handed us is wrong: names the field, the value, the remedy
    │   └── ConfigError     … in the configuration file
    ├── AddressError        an address cannot be given
    │   ├── PoolExhausted   no address is left: names the pool, its size, what holds it
    │   ├── AddressInUse    the requested address belongs to someone else
    │   └── NotInPool       the requested address is not one of this node's
    ├── KernelError         the kernel refused an operation (carries the errno)
    │   ├── NotSupported    … because this kernel lacks the feature: names it
    │   └── NoSuchNamespace … because the network namespace is gone
    ├── StoreError          the durable state on this node cannot be read or written
    │   ├── StoreCorrupt    … because its content is damaged
    │   └── StoreTooNew     … because a newer podwire wrote it
    ├── ClusterError        the Kubernetes API said no (carries the HTTP status)
    │   ├── NotFound        404
    │   ├── Conflict        409
    │   ├── Gone            410: the resourceVersion is too old, list again
    │   └── Unavailable     the API server cannot be reached, or answers 429 or 5xx
    ├── CniError            a CNI verb failed (carries the code of the CNI specification)
    ├── VerifyError         a proof could not be carried out (which is not the same as a guarantee that is broken)
    └── LabError            the lab cannot do what was asked

A message says what failed, for which pod or node, why, and what to do.
"""

from __future__ import annotations

import errno as _errno


class PodwireError(Exception):
    """Root of every error that podwire raises on purpose."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        """Keep *message* (what failed and why) apart from *remedy* (what to do about it)."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class InputError(PodwireError):
    """Something handed to podwire is wrong.

    *field* is a path such as ``backend.vxlan.port``; *value* is shown as given, shortened.
    """

    def __init__(self, field: str, value: object, problem: str, *, remedy: str = "") -> None:
        shown = repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        super().__init__(f"{field}: {shown} {problem}" if value is not None else f"{field}: {problem}", remedy=remedy)
        self.field = field
        self.value = value
        self.problem = problem


class ConfigError(InputError):
    """The configuration file is wrong."""


class AddressError(PodwireError):
    """An address cannot be given."""


class PoolExhausted(AddressError):
    """No address is left in any of the node's pod CIDRs."""


class AddressInUse(AddressError):
    """The requested address belongs to another attachment."""


class NotInPool(AddressError):
    """The requested address does not belong to this node's pod CIDRs."""


class KernelError(PodwireError):
    """The kernel refused *operation* with *errno* (0 when there is none)."""

    def __init__(self, operation: str, errno: int = 0, detail: str = "", *, remedy: str = "") -> None:
        name = _errno.errorcode.get(errno, str(errno)) if errno else ""
        super().__init__(": ".join(part for part in (operation, name, detail) if part), remedy=remedy)
        self.operation = operation
        self.errno = errno


class NotSupported(KernelError):
    """This kernel lacks a feature that was asked for."""


class NoSuchNamespace(KernelError):
    """The network namespace is gone or was never one."""


class StoreError(PodwireError):
    """The durable state on this node cannot be read or written."""


class StoreCorrupt(StoreError):
    """The durable state is damaged."""


class StoreTooNew(StoreError):
    """A newer podwire wrote the durable state; this one must not touch it."""


class ClusterError(PodwireError):
    """The Kubernetes API said no; *status* is the HTTP status, or 0 when there was no answer."""

    def __init__(self, message: str, status: int = 0, *, reason: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.reason = reason


class NotFound(ClusterError):
    """404: the object does not exist."""


class Conflict(ClusterError):
    """409: the object exists already, or was changed since it was read."""


class Gone(ClusterError):
    """410: the resourceVersion is too old; list again."""


class Unavailable(ClusterError):
    """The API server cannot be reached, or asks to come back later (429, 5xx)."""

    def __init__(self, message: str, status: int = 0, *, reason: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message, status, reason=reason)
        self.retry_after = retry_after


class CniError(PodwireError):
    """A CNI verb failed; *code* is of the CNI specification 1.1.0, section "Error", or 100 and up for ours."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class VerifyError(PodwireError):
    """A proof could not be carried out."""


class LabError(PodwireError):
    """The lab cannot do what was asked."""
