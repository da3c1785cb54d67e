"""The wire between the C binary and the agent: one request and one response on a unix stream socket.

All integers are unsigned 32-bit, little-endian. A request is::

    "PWC1"  env_length  stdin_length  env  stdin

where *env* holds ``NAME=value`` strings, each ended by a NUL byte: the CNI_* variables alone. The descriptor of the
pod's network namespace travels with the first byte as SCM_RIGHTS when CNI_NETNS could be opened. A response is::

    "PWR1"  exit_status  body_length  body

and *body* is what the binary prints. A spooled DEL is a file that holds a request, without a descriptor.
"""

from __future__ import annotations

import struct

import msgspec

from podwire.model.errors import InputError

REQUEST_MAGIC = b"PWC1"
RESPONSE_MAGIC = b"PWR1"
REQUEST_HEADER = struct.Struct("<4sII")
RESPONSE_HEADER = struct.Struct("<4sII")
MAX_ENV = 64 * 1024
MAX_STDIN = 1024 * 1024
"""A network configuration with its prevResult is a few kilobytes; a megabyte is somebody's mistake or an attack."""


class RawRequest(msgspec.Struct, frozen=True):
    """A request as it came in: the CNI_* environment and stdin, nothing validated yet."""

    env: dict[str, str]
    stdin: bytes


def request_sizes(header: bytes) -> tuple[int, int]:
    """The (env, stdin) lengths that a request's header announces; InputError for anything else."""
    if len(header) != REQUEST_HEADER.size:
        raise InputError("request", header[:16], "is cut short")
    magic, env, stdin = REQUEST_HEADER.unpack(header)
    if magic != REQUEST_MAGIC:
        raise InputError(
            "request", header[:16], "does not begin with PWC1", remedy="the socket serves podwire's CNI binary only"
        )
    if env > MAX_ENV or stdin > MAX_STDIN:
        raise InputError(
            "request", f"{env}+{stdin} bytes", "is too large", remedy=f"limits are {MAX_ENV} and {MAX_STDIN}"
        )
    return env, stdin


def decode_request(env: bytes, stdin: bytes) -> RawRequest:
    """Decode the two parts of a request; undecodable bytes survive as surrogates and fail validation later."""
    pairs = (entry.partition(b"=") for entry in env.split(b"\0") if entry)
    decoded = {
        name.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape") for name, _, value in pairs
    }
    return RawRequest(decoded, stdin)


def encode_request(request: RawRequest) -> bytes:
    """The bytes that :func:`request_sizes` and :func:`decode_request` read back."""
    env = b"".join(f"{name}={value}".encode("utf-8", "surrogateescape") + b"\0" for name, value in request.env.items())
    return REQUEST_HEADER.pack(REQUEST_MAGIC, len(env), len(request.stdin)) + env + request.stdin


def encode_response(status: int, body: bytes) -> bytes:
    """A response: the binary exits with *status* after printing *body*."""
    return RESPONSE_HEADER.pack(RESPONSE_MAGIC, status, len(body)) + body
