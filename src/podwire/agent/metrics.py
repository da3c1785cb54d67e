"""What the agent counts, in Prometheus' words (``podwire_*``).

Each agent has a registry of its own, so that several can live in one process in tests.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LATENCIES = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 4, 8)
"""Buckets in seconds: a veth pair takes half a millisecond, a busy machine a hundred times that."""


class Metrics:
    """The agent's counters and gauges."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.cni_seconds = Histogram(
            "podwire_cni_duration_seconds",
            "Time from request to answer.",
            ["verb"],
            buckets=_LATENCIES,
            registry=registry,
        )
        self.cni_results = Counter(
            "podwire_cni_requests", "CNI requests by verb and CNI error code.", ["verb", "code"], registry=registry
        )
        self.ready = Gauge("podwire_ready", "1 when new pods can be connected.", registry=registry)
        self.addresses = Gauge(
            "podwire_ipam_addresses", "Addresses by pool and state.", ["pool", "state"], registry=registry
        )
        self.attachments = Gauge("podwire_attachments", "Attachments on this node.", registry=registry)
        self.violations = Gauge(
            "podwire_invariant_violations", "Violations found by the last check.", registry=registry
        )
        self.peers = Gauge(
            "podwire_peers", "Other nodes, by whether their pods are routed.", ["state"], registry=registry
        )
        self.elements = Gauge(
            "podwire_plan_elements", "Kernel objects that the plan wants.", ["kind"], registry=registry
        )
        self.resyncs = Counter("podwire_resyncs", "Comparisons of the kernel with the plan.", registry=registry)
        self.resync_seconds = Histogram(
            "podwire_resync_duration_seconds", "Time of one.", buckets=_LATENCIES, registry=registry
        )
        self.heals = Counter(
            "podwire_heals", "Kernel objects that somebody else had changed.", ["kind"], registry=registry
        )
        self.refusals = Counter(
            "podwire_kernel_refusals", "Kernel objects that the kernel refused.", ["kind"], registry=registry
        )
        self.watch_restarts = Counter(
            "podwire_watch_restarts", "Times that the node list was read anew.", registry=registry
        )

    def exposition(self) -> bytes:
        """The text exposition format, version 0.0.4."""
        return generate_latest(self.registry)
