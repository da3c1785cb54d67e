"""What a probe can be told to do: one method per command, JSON values in and out."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from podwire.verify.probe import listeners, senders
from podwire.verify.probe.sockets import family_of

if TYPE_CHECKING:
    from podwire.verify.probe.tap import Tap


class Commands:
    """The state of one probe: what it listens to, saw and captured."""

    def __init__(self) -> None:
        self._sightings = listeners.Sightings()
        self._taps: dict[str, Tap] = {}
        self._lock = threading.Lock()

    def find(self, name: object) -> Callable[..., Any] | None:
        """The method that carries out command *name*."""
        if not isinstance(name, str) or not name.isidentifier():
            return None
        method: Callable[..., Any] | None = getattr(self, f"do_{name}", None)
        return method

    def do_facts(self) -> dict[str, Any]:
        """This namespace as its inhabitants see it: addresses, devices, routes; host name, namespace number."""
        from podwire.verify.observe import observe_namespace  # netlink only where it is asked for

        return {
            "hostname": socket.gethostname(),
            **observe_namespace(),
        }

    def do_listen(self, proto: str, address: str, port: int = 0) -> dict[str, Any]:
        """Answer *proto* on *address*; returns the port."""
        return {"port": listeners.listen(proto, address, port, self._sightings)}

    def do_seen(self, nonces: list[str]) -> dict[str, Any]:
        """What was received of *nonces*; those that never came are left out."""
        return self._sightings.of(nonces)

    def do_send(self, proto: str, dst: str, port: int, length: int, nonce: str, timeout: float) -> dict[str, Any]:
        """One exchange (:func:`.senders.send`)."""
        return senders.send(senders.Target(proto, dst, port, length, nonce, timeout))

    def do_largest(self, proto: str, dst: str, port: int, low: int, high: int, timeout: float) -> dict[str, Any]:
        """The largest payload that passes (:func:`.senders.largest`)."""
        return {"length": senders.largest(senders.Target(proto, dst, port, 0, "", timeout), low, high)}

    def do_bind(self, port: int, address: str = "0.0.0.0") -> dict[str, Any]:  # noqa: S104 - the conflict is the test
        """Try to bind TCP *port* on every address, and let go: ``errno`` names the refusal, empty when it worked."""
        with socket.socket(family_of(address), socket.SOCK_STREAM) as sock:
            try:
                sock.bind((address, port))
                sock.listen(1)
            except OSError as error:
                return {"errno": errno.errorcode.get(error.errno or 0, str(error))}
        return {"errno": ""}

    def do_capture(
        self, name: str = "main", pairs: Sequence[Sequence[str]] = (), ports: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Start capturing under *name*, anew when it runs already; *pairs*, *ports* as for :class:`.tap.Tap`."""
        from podwire.verify.probe.tap import Tap

        fresh = Tap(pairs, ports)
        with self._lock:
            old, self._taps[name] = self._taps.get(name), fresh
        if old is not None:
            old.close()
        return {}

    def _tap(self, name: str) -> Tap:
        with self._lock:
            return self._taps[name]

    def do_captured(self, nonces: list[str], name: str = "main") -> dict[str, Any]:
        """The captured packets of *nonces*."""
        tap = self._tap(name)
        return {"packets": tap.of(nonces), "lost": tap.lost()}

    def do_places(self, name: str = "main") -> dict[str, Any]:
        """Where the packets of capture *name* passed (:meth:`.tap.Tap.places`)."""
        return {"places": self._tap(name).places()}

    def do_frames(self, start: int, limit: int, name: str = "main") -> dict[str, Any]:
        """Captured packets in full, *limit* at a time."""
        return {"frames": self._tap(name).frames(start, limit)}

    def do_observe(self) -> dict[str, Any]:
        """This node's own network, for a diagnosis (:func:`podwire.verify.observe.observe_node`)."""
        from podwire.verify.observe import observe_node

        return observe_node(())

    def do_lookup(self, to: str) -> dict[str, Any]:
        """Which route the kernel would take to *to* (:func:`podwire.verify.observe.lookup`)."""
        from podwire.verify.observe import lookup

        found: dict[str, Any] = msgspec.to_builtins(lookup(to))
        return found

    def do_conntrack(self, addresses: list[str]) -> dict[str, Any]:
        """Connection tracking entries that have one of *addresses* in any place."""
        from podwire.verify.observe import connections

        return {"entries": msgspec.to_builtins(connections(frozenset(addresses)))}
