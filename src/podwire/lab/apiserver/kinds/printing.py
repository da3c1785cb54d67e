"""The columns of the built-in kinds, in kubectl's words (Kubernetes, ``pkg/printers/internalversion``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from podwire.lab.apiserver.kinds.columns import AGE, NAME, Column, Columns, Object, age, created
from podwire.lab.apiserver.kinds.strategy import at

NONE = "<none>"


def _text_columns(*names: str) -> tuple[Column, ...]:
    """Columns by name; one that begins with ``+`` is wide, and one that ends with ``#`` holds integers."""
    made = []
    for name in names:
        plain = name.strip("+#")
        made.append(Column(plain, "integer" if name.endswith("#") else "string", wide=name.startswith("+")))
    return tuple(made)


def _columns(names: str, cells: Callable[[Object, datetime], list[Any]]) -> Columns:
    listed = _text_columns(*names.split(","))
    return Columns((NAME, *(AGE if column.name == "Age" else column for column in listed)), cells)


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector as a label selector is typed: ``a=b,c in (d,e)``."""
    if not selector:
        return NONE
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for expression in selector.get("matchExpressions") or ():
        key, values = expression["key"], ",".join(expression.get("values") or ())
        match expression["operator"]:
            case "In":
                terms.append(f"{key} in ({values})")
            case "NotIn":
                terms.append(f"{key} notin ({values})")
            case "Exists":
                terms.append(key)
            case _:
                terms.append(f"!{key}")
    return ",".join(terms) or NONE


def _map_text(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _containers(template: Object) -> list[str]:
    containers = at(template, "spec.containers", [])
    return [",".join(str(container.get(field, "")) for container in containers) for field in ("name", "image")]


def pod_status(pod: Object) -> str:
    """The STATUS of a pod: the phase, or why it is not what one would hope."""
    status = pod.get("status") or {}
    text = status.get("reason") or status.get("phase") or "Unknown"
    containers = status.get("containerStatuses") or []
    for container in reversed(containers):
        state = container.get("state") or {}
        waiting, ended = at(state, "waiting.reason"), state.get("terminated")
        if waiting:
            text = waiting
        elif ended:
            text = ended.get("reason") or (
                f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"
            )
    ready = sum(1 for container in containers if container.get("ready") and at(container, "state.running") is not None)
    if text == "Completed" and ready:
        conditions = {item.get("type"): item.get("status") for item in status.get("conditions") or ()}
        text = "Running" if conditions.get("Ready") == "True" else "NotReady"
    for container in status.get("initContainerStatuses") or ():
        state = container.get("state") or {}
        if "terminated" in state and state["terminated"].get("exitCode") == 0:
            continue
        reason = at(state, "waiting.reason") or at(state, "terminated.reason")
        if reason and reason != "PodInitializing":
            text = f"Init:{reason}"
    if "deletionTimestamp" in pod["metadata"]:
        text = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return str(text)


def _pod(pod: Object, now: datetime) -> list[Any]:
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    containers = status.get("containerStatuses") or []
    ready = sum(1 for container in containers if container.get("ready"))
    restarts = sum(int(container.get("restartCount", 0)) for container in containers)
    last = max((at(item, "lastState.terminated.finishedAt", "") for item in containers), default="")
    shown = f"{restarts} ({age(last, now)} ago)" if restarts and last else str(restarts)
    addresses = [address["ip"] for address in status.get("podIPs") or ()] or [status.get("podIP")]
    gates = spec.get("readinessGates") or []
    return [
        pod["metadata"]["name"],
        f"{ready}/{len(spec.get('containers') or ())}",
        pod_status(pod),
        shown,
        created(pod, now),
        addresses[0] or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        str(len(gates)) if gates else NONE,
    ]


def _node(node: Object, now: datetime) -> list[Any]:
    status = node.get("status") or {}
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
    words = {"True": "Ready", "False": "NotReady"}
    state = [words.get(conditions["Ready"], "NotReady")] if "Ready" in conditions else ["Unknown"]
    if at(node, "spec.unschedulable"):
        state.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = [key.removeprefix(prefix) for key in at(node, "metadata.labels", {}) if key.startswith(prefix)]
    addresses: dict[str, str] = {}
    for address in status.get("addresses") or ():
        addresses.setdefault(address["type"], address["address"])
    info = status.get("nodeInfo") or {}
    return [
        node["metadata"]["name"],
        ",".join(state),
        ",".join(sorted(roles)) or NONE,
        created(node, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _deployment(obj: Object, now: datetime) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        created(obj, now),
        *_containers(spec.get("template") or {}),
        selector_text(spec.get("selector")),
    ]


def _replicaset(obj: Object, now: datetime) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    return [
        obj["metadata"]["name"],
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        created(obj, now),
        *_containers(spec.get("template") or {}),
        selector_text(spec.get("selector")),
    ]


def _daemonset(obj: Object, now: datetime) -> list[Any]:
    status, spec = obj.get("status") or {}, obj["spec"]
    counts = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    return [
        obj["metadata"]["name"],
        *(status.get(count, 0) for count in counts),
        status.get("numberAvailable", 0),
        _map_text(at(spec, "template.spec.nodeSelector")),
        created(obj, now),
        *_containers(spec.get("template") or {}),
        selector_text(spec.get("selector")),
    ]


def _service(obj: Object, now: datetime) -> list[Any]:
    spec, ports = obj["spec"], []
    for port in obj["spec"].get("ports") or ():
        node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
        ports.append(f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}")
    external = [*(spec.get("externalIPs") or ())]
    external += [item.get("ip") or item.get("hostname", "") for item in at(obj, "status.loadBalancer.ingress", [])]
    if spec.get("type") == "ExternalName":
        external = [spec.get("externalName", "")]
    waiting = "<pending>" if spec.get("type") == "LoadBalancer" else NONE
    return [
        obj["metadata"]["name"],
        spec.get("type", ""),
        spec.get("clusterIP") or NONE,
        ",".join(external) or waiting,
        ",".join(ports) or NONE,
        created(obj, now),
        _map_text(spec.get("selector")),
    ]


def _event(obj: Object, now: datetime) -> list[Any]:
    # events.k8s.io/v1 names the same things differently
    subject = obj.get("involvedObject") or obj.get("regarding") or {}
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or at(obj, "series.lastObservedTime") or first
    reporter = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    host = source.get("host") or obj.get("reportingInstance")
    return [
        age(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{str(subject.get('kind', '')).lower()}/{subject.get('name', '')}",
        subject.get("fieldPath", ""),
        f"{reporter}, {host}" if host else reporter,
        str(obj.get("message") or obj.get("note") or "").strip(),
        age(first, now),
        obj.get("count") or obj.get("deprecatedCount") or at(obj, "series.count", 1),
        obj["metadata"]["name"],
    ]


def _slice(obj: Object, now: datetime) -> list[Any]:
    ports = [str(port.get("port", "*")) for port in obj.get("ports") or ()]
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    shown = ",".join(addresses[:3]) + (f" + {len(addresses) - 3} more..." if len(addresses) > 3 else "")
    meta = obj["metadata"]
    return [
        meta["name"],
        obj.get("addressType", ""),
        ",".join(ports) or "<unset>",
        shown or "<unset>",
        created(obj, now),
    ]


def _endpoints(obj: Object, now: datetime) -> list[Any]:
    shown = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or ()
        for port in subset.get("ports") or ()
        for address in subset.get("addresses") or ()
    ]
    text = ",".join(shown[:3]) + (f" + {len(shown) - 3} more..." if len(shown) > 3 else "")
    return [obj["metadata"]["name"], text or NONE, created(obj, now)]


def _count(obj: Object) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


def _named(*paths: str) -> Callable[[Object, datetime], list[Any]]:
    """Name, the values at *paths*, age."""

    def cells(obj: Object, now: datetime) -> list[Any]:
        return [obj["metadata"]["name"], *(at(obj, path, "") for path in paths), created(obj, now)]

    return cells


PODS = _columns("Ready,Status,Restarts,Age,+IP,+Node,+Nominated Node,+Readiness Gates", _pod)
NODES = _columns(
    "Status,Roles,Age,Version,+Internal-IP,+External-IP,+OS-Image,+Kernel-Version,+Container-Runtime", _node
)
DEPLOYMENTS = _columns("Ready,Up-to-date#,Available#,Age,+Containers,+Images,+Selector", _deployment)
REPLICASETS = _columns("Desired#,Current#,Ready#,Age,+Containers,+Images,+Selector", _replicaset)
DAEMONSETS = _columns(
    "Desired#,Current#,Ready#,Up-to-date#,Available#,Node Selector,Age,+Containers,+Images,+Selector", _daemonset
)
SERVICES = _columns("Type,Cluster-IP,External-IP,Port(s),Age,+Selector", _service)
NAMESPACES = _columns("Status,Age", _named("status.phase"))
LEASES = _columns("Holder,Age", _named("spec.holderIdentity"))
SLICES = _columns("AddressType,Ports,Endpoints,Age", _slice)
ENDPOINTS = _columns("Endpoints,Age", _endpoints)
EVENTS = Columns(
    _text_columns(
        "Last Seen", "Type", "Reason", "Object", "+Subobject", "+Source", "Message", "+First Seen", "+Count#", "+Name"
    ),
    _event,
)
CONFIG_MAPS = _columns("Data#,Age", lambda obj, now: [obj["metadata"]["name"], _count(obj), created(obj, now)])
SECRETS = _columns(
    "Type,Data#,Age",
    lambda obj, now: [obj["metadata"]["name"], obj.get("type", ""), _count(obj), created(obj, now)],
)
SERVICE_ACCOUNTS = _columns(
    "Secrets#,Age", lambda obj, now: [obj["metadata"]["name"], len(obj.get("secrets") or ()), created(obj, now)]
)
POLICIES = _columns(
    "Pod-Selector,Age",
    lambda obj, now: [obj["metadata"]["name"], selector_text(at(obj, "spec.podSelector")), created(obj, now)],
)
DEFINITIONS = _columns(
    "Created At", lambda obj, now: [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp", "")]
)
