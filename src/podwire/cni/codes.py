"""Error codes of CNI (specification 1.1.0, section 5, "Error", and STATUS), and ours from 100 up."""

from __future__ import annotations

from podwire.model.errors import (
    AddressError,
    CniError,
    InputError,
    KernelError,
    NoSuchNamespace,
    NotInPool,
    PodwireError,
    StoreError,
)

INCOMPATIBLE_VERSION = 1
UNSUPPORTED_FIELD = 2
UNKNOWN_CONTAINER = 3
"""Also promises that nothing of the container is left, so that the runtime need not call DEL."""
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
DECODING_FAILURE = 6
INVALID_CONFIG = 7
TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50
"""STATUS: no ADD can be served now."""
LIMITED_CONNECTIVITY = 51
"""STATUS: no ADD can be served, and pods that have their network already may suffer too."""

WIRING_DIFFERS = 100
"""CHECK: what stands is not what was built."""
KERNEL_REFUSED = 101
GC_INCOMPLETE = 102
INTERNAL = 999
"""A bug of ours; the same number that the reference implementation uses."""


def as_cni_error(error: PodwireError) -> CniError:
    """The CNI error that tells the runtime about *error*: its message, and the remedy as details."""
    match error:
        case CniError():
            return error
        case NoSuchNamespace():
            code = UNKNOWN_CONTAINER
        case KernelError():
            code = KERNEL_REFUSED
        case NotInPool() | InputError():
            code = INVALID_CONFIG
        case AddressError():  # a full pool, or an address that another pod still has: both clear up
            code = TRY_AGAIN_LATER
        case StoreError():
            code = IO_FAILURE
        case _:
            code = INTERNAL
    return CniError(code, error.message, error.remedy)
