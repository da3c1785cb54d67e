"""The probe's stream: lines in, a thread per command under way, lines out."""

from __future__ import annotations

import json
import threading
from typing import Any, BinaryIO

from podwire.verify.probe import VERSION
from podwire.verify.probe.commands import Commands

_MAX_LINE = 4 * 1024 * 1024
_AT_ONCE = 64


class Server:
    """Serves one stream; *incoming* and *outgoing* are unbuffered or are flushed after each line."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._in = incoming
        self._out = outgoing
        self._lock = threading.Lock()
        self._free = threading.Semaphore(_AT_ONCE)
        self._commands = Commands()

    def run(self) -> None:
        """Serve until the input ends. Commands still under way then are abandoned: nobody would read them."""
        self._say({"hello": "podwire-probe", "version": VERSION})
        while line := self._in.readline(_MAX_LINE):
            if line.strip():
                self._accept(line)

    def _accept(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            number, name = message["id"], message["do"]
            arguments = {key: value for key, value in message.items() if key not in ("id", "do")}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._say({"id": None, "error": f"not a command: {line[:80].decode('utf-8', 'replace').strip()}"})
            return
        method = self._commands.find(name)
        if method is None:
            self._say({"id": number, "error": f"unknown command {name!r}; is the probe's image too old?"})
            return
        self._free.acquire()
        threading.Thread(target=self._carry_out, args=(number, method, arguments), daemon=True).start()

    def _carry_out(self, number: object, method: Any, arguments: dict[str, Any]) -> None:
        answer: dict[str, Any]
        try:
            answer = {"id": number, "result": method(**arguments)}
        except Exception as error:  # whatever it is, the orchestrator must hear of it, and the probe must live
            answer = {"id": number, "error": f"{type(error).__name__}: {error}"}
        finally:
            self._free.release()
        self._say(answer)

    def _say(self, message: dict[str, Any]) -> None:
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                self._out.write(data)
                self._out.flush()
            except (BrokenPipeError, ValueError):  # the orchestrator went away; the input ends next
                pass
