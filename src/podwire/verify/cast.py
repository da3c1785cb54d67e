"""The probes of one proof: opened all at once, asked together, closed whatever happens."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from podwire.drivers.pcap import PcapWriter
from podwire.model.errors import PodwireError, VerifyError
from podwire.verify.channel import Channel
from podwire.verify.observation import SeenConnection, SeenNamespace
from podwire.verify.transport import Transport
from podwire.verify.values import PROTOS, CapturedPacket, Placed, Proto, Seat, Sighting, StartFailure, Topology

_OPENING_AT_ONCE = 32
_NONCES_AT_ONCE = 2000
_FRAMES_AT_ONCE = 2000
_EVERYWHERE = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - in a pod made for this
_T = TypeVar("_T")


class Cast:
    """Probes by the name of their seat; *placed* tells what each found and where it listens."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.channels: dict[str, Channel] = {}
        self.placed: dict[str, Placed] = {}
        self.failures: list[StartFailure] = []
        self.blind: dict[str, str] = {}
        """Seats that cannot capture, and why."""

    async def open(self, seats: Sequence[Seat], topology: Topology) -> None:
        """Start a probe in every seat, look around and listen. A seat that fails is noted in :attr:`failures`."""
        gate = asyncio.Semaphore(_OPENING_AT_ONCE)
        listening: set[str] = set()
        async with asyncio.TaskGroup() as group:
            for seat in seats:
                first = seat.pod not in listening
                listening.add(seat.pod)
                group.create_task(self._open(seat, topology, first, gate))

    async def _open(self, seat: Seat, topology: Topology, listens: bool, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                channel = Channel(seat, await self._transport.open(seat))
                self.channels[seat.name] = channel
                await channel.greet()
                facts = understood(await channel.ask("facts"), SeenNamespace)
                ips = _ips(seat, facts, topology)
                ports = await self._listen(channel, ips) if listens else {}
                if listens:
                    await self._capture(channel)
                self.placed[seat.name] = Placed(seat, facts, ips, ports)
            except PodwireError as error:
                self.failures.append(StartFailure(seat.node, seat.pod, str(error)))

    async def _listen(self, channel: Channel, ips: Iterable[str]) -> dict[tuple[Proto, int], int]:
        ports: dict[tuple[Proto, int], int] = {}
        for version in sorted({ip_address(ip).version for ip in ips}):
            for proto in PROTOS:
                answer = await channel.ask("listen", proto=proto, address=_EVERYWHERE[version])
                ports[proto, version] = answer["port"]
        return ports

    async def _capture(self, channel: Channel) -> None:
        if channel.seat.host:
            return
        try:
            await channel.ask("capture")
        except VerifyError as error:
            self.blind[channel.seat.name] = str(error)

    def hosts(self) -> dict[str, Placed]:
        """The probes on the nodes' own networks, by node."""
        return {each.seat.node: each for each in self.placed.values() if each.seat.host}

    async def sightings(self, seat: str, nonces: Sequence[str]) -> dict[str, Sighting]:
        """What the probe in *seat* received of *nonces*."""
        found: dict[str, Sighting] = {}
        for part in _parts(nonces, _NONCES_AT_ONCE):
            answer = await self.channels[seat].ask("seen", nonces=part)
            found |= understood(answer, dict[str, Sighting])
        return found

    async def captured(self, seat: str, nonces: Sequence[str]) -> dict[str, tuple[CapturedPacket, ...]] | None:
        """What the probe in *seat* captured of *nonces*; None where it could not capture."""
        if seat in self.blind:
            return None
        found: dict[str, tuple[CapturedPacket, ...]] = {}
        for part in _parts(nonces, _NONCES_AT_ONCE):
            answer = await self.channels[seat].ask("captured", nonces=part)
            found |= understood(answer["packets"], dict[str, tuple[CapturedPacket, ...]])
        return found

    async def conntrack(self, addresses: Sequence[str]) -> tuple[dict[str, list[SeenConnection]], dict[str, str]]:
        """Each node's tracked connections with one of *addresses*, and why a node's could not be read."""
        found: dict[str, list[SeenConnection]] = {}
        problems: dict[str, str] = {}

        async def ask(node: str, seat: str) -> None:
            try:
                answer = await self.channels[seat].ask("conntrack", addresses=list(addresses))
                found[node] = understood(answer["entries"], list[SeenConnection])
            except VerifyError as error:
                problems[node] = str(error)

        await gather(ask(node, host.seat.name) for node, host in self.hosts().items())
        return found, problems

    async def save(self, directory: Path) -> list[Path]:
        """Write what each pod's probe captured to a pcap file of its own below *directory*."""

        async def fetch(seat: str) -> Path:
            frames: list[tuple[int, int, bytes]] = []
            while True:
                answer = await self.channels[seat].ask("frames", start=len(frames), limit=_FRAMES_AT_ONCE)
                part = [(when, length, base64.b64decode(data)) for when, length, data in answer["frames"]]
                frames += part
                if len(part) < _FRAMES_AT_ONCE:
                    break
            path = directory / (seat.replace("/", "_").replace(":", "_") + ".pcap")
            await asyncio.to_thread(_write_pcap, path, frames)
            return path

        seats = [
            name for name, each in self.placed.items() if each.ports and not each.seat.host and name not in self.blind
        ]
        return await gather(fetch(seat) for seat in sorted(seats))

    async def close(self) -> None:
        """Let all probes end."""
        channels, self.channels = list(self.channels.values()), {}
        await asyncio.gather(*(channel.close() for channel in channels))


def _write_pcap(path: Path, frames: Sequence[tuple[int, int, bytes]]) -> None:
    path.touch(mode=0o600)
    with path.open("wb") as stream:
        writer = PcapWriter(stream)
        for when, length, data in sorted(frames):
            writer.write(when, data, length)


async def gather(work: Iterable[Awaitable[_T]]) -> list[_T]:
    """Await all; the first error cancels the rest."""

    async def one(each: Awaitable[_T]) -> _T:
        return await each

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(each)) for each in work]
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return [task.result() for task in tasks]


def _parts(items: Sequence[str], size: int) -> Iterable[list[str]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))


def _ips(seat: Seat, facts: SeenNamespace, topology: Topology) -> tuple[str, ...]:
    """A pod's addresses on eth0 (further interfaces are other networks'); a node's as its status has them."""
    if seat.host:
        status = topology.nodes.get(seat.node)
        return tuple(str(address) for address in status.node.addresses) if status else ()
    own = facts.ips()
    eth0 = {address.ip for address in facts.addresses if address.dev == "eth0"}
    return tuple(ip for ip in own if ip in eth0 or not eth0)


def by_name(placed: Mapping[str, Placed], seats: Sequence[Seat]) -> list[Placed]:
    """Those of *seats* that are placed, in the order of *seats*."""
    return [placed[seat.name] for seat in seats if seat.name in placed]


def understood(answer: Any, kind: type[_T]) -> _T:
    """A probe's answer as a value; VerifyError where it does not have that form."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise VerifyError(f"a probe answered what cannot be understood: {error}") from error
