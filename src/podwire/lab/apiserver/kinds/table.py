"""The table of built-in kinds."""

from __future__ import annotations

from podwire.lab.apiserver.kinds import printing
from podwire.lab.apiserver.kinds.cluster import NamespaceStrategy, NodeStrategy
from podwire.lab.apiserver.kinds.custom import DefinitionStrategy
from podwire.lab.apiserver.kinds.network import EndpointSliceStrategy, NetworkPolicyStrategy, ServiceStrategy
from podwire.lab.apiserver.kinds.plain import (
    DataStrategy,
    EventStrategy,
    StatelessStrategy,
    event_from_v1,
    event_to_v1,
)
from podwire.lab.apiserver.kinds.pods import PodStrategy
from podwire.lab.apiserver.kinds.resource import Conversion, Registry, Resource, ScalePaths
from podwire.lab.apiserver.kinds.workloads import DaemonSetStrategy, DeploymentStrategy, WorkloadStrategy
from podwire.lab.apiserver.schema.builtin import types

PODS, NODES, NAMESPACES, SERVICES = "/pods", "/nodes", "/namespaces", "/services"
DEFINITIONS = "apiextensions.k8s.io/customresourcedefinitions"
EVENTS = "/events"


def builtin() -> tuple[Resource, ...]:
    """Every built-in kind, in the order of discovery."""
    return (*_core(), *_apps(), *_others())


def registry() -> Registry:
    """A registry that serves the built-in kinds."""
    return Registry(builtin())


def _core() -> tuple[Resource, ...]:
    known = types()
    return (
        Resource(
            "", "v1", "Namespace", "namespaces", known["Namespace"], NamespaceStrategy(),
            namespaced=False, short_names=("ns",), status=True, subresources=("finalize",), columns=printing.NAMESPACES,
        ),
        Resource(
            "", "v1", "Node", "nodes", known["Node"], NodeStrategy(),
            namespaced=False, short_names=("no",), status=True, columns=printing.NODES,
        ),
        Resource(
            "", "v1", "Pod", "pods", known["Pod"], PodStrategy(),
            short_names=("po",), categories=("all",), status=True, columns=printing.PODS,
            subresources=("binding", "eviction", "log", "exec", "attach", "portforward"),
        ),
        Resource(
            "", "v1", "ServiceAccount", "serviceaccounts", known["ServiceAccount"], StatelessStrategy(),
            short_names=("sa",), columns=printing.SERVICE_ACCOUNTS,
        ),
        Resource(
            "", "v1", "ConfigMap", "configmaps", known["ConfigMap"], DataStrategy(),
            short_names=("cm",), columns=printing.CONFIG_MAPS,
        ),
        Resource("", "v1", "Secret", "secrets", known["Secret"], DataStrategy(), columns=printing.SECRETS),
        Resource(
            "", "v1", "Event", "events", known["Event"], EventStrategy(),
            short_names=("ev",), columns=printing.EVENTS,
        ),
        Resource(
            "", "v1", "Service", "services", known["Service"], ServiceStrategy(),
            short_names=("svc",), categories=("all",), status=True, columns=printing.SERVICES,
        ),
        Resource(
            "", "v1", "Endpoints", "endpoints", known["Endpoints"], StatelessStrategy(),
            short_names=("ep",), columns=printing.ENDPOINTS,
        ),
    )  # fmt: skip


def _apps() -> tuple[Resource, ...]:
    known = types()
    return (
        Resource(
            "apps", "v1", "Deployment", "deployments", known["Deployment"], DeploymentStrategy(),
            short_names=("deploy",), categories=("all",), status=True, scale=ScalePaths(), columns=printing.DEPLOYMENTS,
        ),
        Resource(
            "apps", "v1", "ReplicaSet", "replicasets", known["ReplicaSet"], WorkloadStrategy(),
            short_names=("rs",), categories=("all",), status=True, scale=ScalePaths(), columns=printing.REPLICASETS,
        ),
        Resource(
            "apps", "v1", "DaemonSet", "daemonsets", known["DaemonSet"], DaemonSetStrategy(),
            short_names=("ds",), categories=("all",), status=True, columns=printing.DAEMONSETS,
        ),
    )  # fmt: skip


def _others() -> tuple[Resource, ...]:
    known = types()
    return (
        Resource(
            "coordination.k8s.io", "v1", "Lease", "leases", known["Lease"], StatelessStrategy(),
            columns=printing.LEASES,
        ),
        Resource(
            "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", known["EndpointSlice"],
            EndpointSliceStrategy(), columns=printing.SLICES,
        ),
        Resource(
            "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", known["NetworkPolicy"],
            NetworkPolicyStrategy(), short_names=("netpol",), columns=printing.POLICIES,
        ),
        Resource(
            "events.k8s.io", "v1", "Event", "events", known["EventsEvent"], EventStrategy(),
            short_names=("ev",), columns=printing.EVENTS, key=EVENTS,
            conversion=Conversion(event_from_v1, event_to_v1),
        ),
        Resource(
            "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions",
            known["CustomResourceDefinition"], DefinitionStrategy(),
            namespaced=False, short_names=("crd", "crds"), categories=("api-extensions",), status=True,
            columns=printing.DEFINITIONS,
        ),
    )  # fmt: skip


__all__ = ["DEFINITIONS", "EVENTS", "NAMESPACES", "NODES", "PODS", "SERVICES", "builtin", "registry"]
