"""Asking an agent: a client of its control API (:mod:`podwire.agent.control`)."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from typing import Any

import msgspec

from podwire.model.errors import PodwireError

_TIMEOUT = 30.0


def ask(control: Path, path: str, method: str = "GET") -> Any:
    """One request to an agent's control socket; PodwireError when it does not answer or refuses."""
    connection = _UnixConnection(str(control))
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = msgspec.json.decode(response.read())
    except FileNotFoundError:
        raise PodwireError(f"no agent listens on {control}", remedy="is it running?") from None
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        raise PodwireError(f"the agent on {control} does not answer: {error}") from None
    finally:
        connection.close()
    if response.status >= 400:
        raise PodwireError(body.get("error", "refused"), remedy=body.get("remedy", ""))
    return body


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("podwire", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)
