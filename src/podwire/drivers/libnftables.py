"""libnftables by ctypes: nft's own syntax in, JSON out, with no process started.

The library is bound to the network namespace in which a context is made; a context serves one thread at a time.
Source: ``libnftables(3)``, ``libnftables-json(5)``.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import re
from typing import Any

import msgspec

from podwire.drivers import netns
from podwire.model.errors import KernelError, NotSupported

_NAME = "libnftables.so.1"
_STATELESS, _JSON, _TERSE = 1 << 1, 1 << 4, 1 << 11
_ERRNO_BY_TEXT = {os.strerror(number): number for number in errno.errorcode}
# What libnftables says by itself, before it asks the kernel.
_ERRNO_BY_TEXT |= {
    "element does not exist": errno.ENOENT,
    "interval overlaps with an existing one": errno.EEXIST,
    "conflicting intervals specified": errno.EEXIST,
}


class Refused(KernelError):
    """nft did not carry out a transaction: nothing of it took effect."""


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_NAME)
    except OSError as error:
        raise NotSupported("load libnftables", 0, str(error), remedy="install the package libnftables1") from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


class Nft:
    """A context in the namespace of descriptor *home*."""

    def __init__(self, home: int) -> None:
        self._library = _library()
        with netns.entered(home):
            self._context: int | None = self._library.nft_ctx_new(0)
        if not self._context:
            raise NotSupported("open nftables", 0, "this kernel has none", remedy="load the module nf_tables")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str) -> None:
        """Carry out *commands* as one transaction. Raises :class:`Refused` with the errno and nft's sentence."""
        self._library.nft_ctx_output_set_flags(self._context, 0)
        self._run(commands)

    def list(self, command: str, *, elements: bool = True) -> list[dict[str, Any]]:
        """The objects that a ``list`` command yields, as libnftables-json(5) writes them, without counters' values.

        Its input is parsed as JSON first, which fails at the first letter, and then as nft's syntax.
        """
        flags = _JSON | _STATELESS | (0 if elements else _TERSE)
        self._library.nft_ctx_output_set_flags(self._context, flags)
        answer = msgspec.json.decode(self._run(command) or b'{"nftables":[]}')
        objects: list[dict[str, Any]] = answer["nftables"]
        return [found for found in objects if "metainfo" not in found]

    def _run(self, commands: str) -> bytes:
        if self._context is None:
            raise KernelError("use nftables", errno.EBADF, "the driver is closed")
        status = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
        complaint: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if status != 0:
            text = complaint.decode("utf-8", "replace")
            raise Refused("change nftables", _errno(text), _first_line(text))
        return output

    def close(self) -> None:
        """Free the context."""
        if self._context is not None:
            self._library.nft_ctx_free(self._context)
            self._context = None


def _first_line(text: str) -> str:
    lines = [line for line in text.splitlines() if "Error:" in line]
    return re.sub(r"^.*?Error: ", "", lines[0]).strip() if lines else text.strip()[:200]


def _errno(text: str) -> int:
    for sentence, number in _ERRNO_BY_TEXT.items():
        if sentence in text:
            return number
    return errno.EINVAL
