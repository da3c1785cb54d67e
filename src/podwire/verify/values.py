"""The values of a proof: seats, flows, evidence, judgements, findings, verdicts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from podwire.model.cluster import Node, Pod
from podwire.verify.observation import Lookup, SeenConnection, SeenNamespace, SeenNode
from podwire.verify.packets import Tuple5

Proto: TypeAlias = Literal["tcp", "udp", "icmp"]
Size: TypeAlias = Literal["small", "full"]
PROTOS: tuple[Proto, ...] = ("tcp", "udp", "icmp")

GUARANTEES = {
    1: "every pod has its own IP, unique in the cluster, shared by its containers",
    2: "any pod reaches any pod on any node without NAT",
    3: "agents on a node reach every pod of that node",
}


class Seat(msgspec.Struct, frozen=True):
    """Where a probe runs: a container of a pod (``namespace/name``); *host*: on the node's own network."""

    node: str
    pod: str
    container: str
    host: bool = False

    @property
    def name(self) -> str:
        return f"{self.pod}:{self.container}"


class NodeStatus(msgspec.Struct, frozen=True):
    """A node of the cluster, and whether it says that it can run pods (*message*: why not)."""

    node: Node
    ready: bool = True
    message: str = ""


class Topology(msgspec.Struct, frozen=True):
    """The cluster as its API tells it: nodes by name, and all pods."""

    nodes: Mapping[str, NodeStatus]
    pods: tuple[Pod, ...]


class StartFailure(msgspec.Struct, frozen=True):
    """A probe that could not be started, and what its pod's status says of it."""

    node: str
    pod: str
    reason: str


class Placed(msgspec.Struct, frozen=True):
    """A seat with a probe in it that answers: what its namespace looks like, and where it listens.

    *ports* maps (protocol, IP version) to a port; ICMP's is 0. Versions are those that the pod has an address of.
    """

    seat: Seat
    facts: SeenNamespace
    ips: tuple[str, ...]
    ports: Mapping[tuple[Proto, int], int] = msgspec.field(default_factory=dict)


class Flow(msgspec.Struct, frozen=True):
    """One exchange to be tried.

    *kind*: ``pod`` (pod to another pod), ``self`` (a pod to its own address), ``node`` (a node to a pod of its own),
    ``host`` (node to node, to find out where a break is). *source* is a seat's name; *target* a seat's or pod's.
    *src* is the address that the receiver must see; empty where any will do. *length* is the payload's, bytes;
    *packet* the size of the IP packet that carries it (TCP: of its largest segments).
    """

    nonce: str
    kind: Literal["pod", "self", "node", "host"]
    proto: Proto
    size: Size
    source: str
    target: str
    source_node: str
    target_node: str
    src: str
    dst: str
    port: int
    length: int
    packet: int

    @property
    def name(self) -> str:
        where = "itself" if self.source == self.target else f"{self.target} on {self.target_node}"
        size = f"{self.packet}-byte packets" if self.size == "full" else "small packets"
        return f"{self.proto.upper()} from {self.source} on {self.source_node} to {where} ({self.dst}), {size}"


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the sender says (:func:`podwire.verify.probe.senders.send`)."""

    delivered: bool
    problem: str = ""
    attempts: int = 0
    source: str = ""
    port: int = 0
    seen: tuple[str, int] | None = None
    rtt_us: int = 0
    told: Mapping[str, str | int] = {}


class Sighting(msgspec.Struct, frozen=True):
    """What the receiver says that it received."""

    peer: str
    port: int
    own: str
    length: int
    intact: bool


class CapturedPacket(msgspec.Struct, frozen=True):
    """A captured packet that carries the flow's nonce; *header* is its 5-tuple, *length* the IP packet's, bytes."""

    header: tuple[str, str, int, str, int]
    out: bool
    interface: str
    length: int
    df: bool

    @property
    def tuple5(self) -> Tuple5:
        return Tuple5(*self.header)


class Evidence(msgspec.Struct, frozen=True):
    """All that is known of one flow. *at_sender* and *at_receiver* are None where that end could not capture."""

    report: Report
    sighting: Sighting | None = None
    at_sender: tuple[CapturedPacket, ...] | None = None
    at_receiver: tuple[CapturedPacket, ...] | None = None
    tracked: tuple[tuple[str, SeenConnection], ...] = ()


Outcome: TypeAlias = Literal["ok", "lost", "one-way", "translated", "damaged", "unproven"]


class Judged(msgspec.Struct, frozen=True):
    """A flow with its outcome, in a sentence, and the evidence for it."""

    flow: Flow
    outcome: Outcome
    sentence: str
    evidence: Evidence

    @property
    def ok(self) -> bool:
        return self.outcome == "ok"


class Check(msgspec.Struct, frozen=True):
    """The outcome of anything that is not a flow (localhost, a port conflict, an address); *ok* None: not proven."""

    guarantee: int
    name: str
    where: str
    ok: bool | None
    sentence: str = ""


class Place(msgspec.Struct, frozen=True):
    """Where a packet was seen: on *interface* of *node*; *port*: inside a VXLAN datagram to that UDP port."""

    node: str
    interface: str
    outgoing: bool
    port: int = 0

    def __str__(self) -> str:
        way = "out of" if self.outgoing else "into"
        return f"{way} {self.interface} of {self.node}" + (f" (VXLAN, UDP {self.port})" if self.port else "")


class Trace(msgspec.Struct, frozen=True):
    """Where request and answer of a flow were seen on the two nodes, each in the order of their passing."""

    request: tuple[Place, ...]
    answer: tuple[Place, ...]


class Aftermath(msgspec.Struct, frozen=True):
    """What was looked up because flows failed. Pairs are (node, node); *largest* and *traces* go by (source seat, dst)."""

    nodes: Mapping[str, SeenNode] = msgspec.field(default_factory=dict)
    lookups: Mapping[tuple[str, str], Lookup] = msgspec.field(default_factory=dict)
    reachable: Mapping[tuple[str, str], bool] = msgspec.field(default_factory=dict)
    largest: Mapping[tuple[str, str], int] = msgspec.field(default_factory=dict)
    traces: Mapping[tuple[str, str], Trace] = msgspec.field(default_factory=dict)


class Finding(msgspec.Struct, frozen=True):
    """What is broken: *code* for programs, *where* and *sentence* for people, *remedy*: what to do next."""

    code: str
    guarantee: int
    where: str
    sentence: str
    remedy: str
    evidence: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """Of one guarantee."""

    guarantee: int
    status: Literal["proven", "broken", "not proven"]
    sentence: str
