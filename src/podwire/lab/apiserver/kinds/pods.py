"""Pods: defaults, validation (also of the templates in workloads), graceful deletion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from podwire.lab.apiserver.errors import Cause, duplicate, forbidden_field, invalid, not_supported, required
from podwire.lab.apiserver.kinds.names import dns_label, dns_subdomain, label_causes
from podwire.lab.apiserver.kinds.strategy import Context, Object, Strategy, at

_FIELDS = {
    "spec.nodeName": "spec.nodeName",
    "spec.restartPolicy": "spec.restartPolicy",
    "spec.schedulerName": "spec.schedulerName",
    "spec.serviceAccountName": "spec.serviceAccountName",
    "status.phase": "status.phase",
    "status.podIP": "status.podIP",
    "status.nominatedNodeName": "status.nominatedNodeName",
}
_MUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, "
    "`spec.activeDeadlineSeconds`, `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
    "negative), `spec.tolerations` (only additions to existing tolerations)"
)
_UNREACHABLE = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_VOLUME_SOURCES_LIMIT = 1


def default_spec(spec: Object) -> None:
    """Defaults of a pod's spec that depend on other fields."""
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in (*spec.get("containers", ()), *spec.get("initContainers", ())):
        if "imagePullPolicy" not in container:
            image = str(container.get("image", "")).rpartition("/")[2]
            latest = "@" not in image and (":" not in image or image.endswith(":latest"))
            container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"
        resources = container.get("resources") or {}
        for name, quantity in (resources.get("limits") or {}).items():
            resources.setdefault("requests", {}).setdefault(name, quantity)
    if spec.get("hostNetwork"):
        for container in spec.get("containers", ()):
            for port in container.get("ports", ()):
                port.setdefault("hostPort", port.get("containerPort"))
    for volume in spec.get("volumes", ()):
        if len(volume) == 1:
            volume["emptyDir"] = {}


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort. Source: Kubernetes, "Pod Quality of Service Classes"."""
    resources = [
        container.get("resources") or {} for container in (*spec["containers"], *spec.get("initContainers", ()))
    ]
    if not any(resource.get("limits") or resource.get("requests") for resource in resources):
        return "BestEffort"
    for resource in resources:
        limits, requests = resource.get("limits") or {}, resource.get("requests") or {}
        if any(name not in limits or requests.get(name) != limits[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def spec_causes(spec: Object, path: str) -> Iterator[Cause]:
    """What is wrong with a pod's spec."""
    if spec.get("containers") == []:
        yield required(f"{path}.containers")
    volumes = [volume.get("name") for volume in spec.get("volumes", ())]
    for index, volume in enumerate(volumes):
        if volume and (problem := dns_label(volume)):
            yield invalid(f"{path}.volumes[{index}].name", volume, problem)
        if volume in volumes[:index]:
            yield duplicate(f"{path}.volumes[{index}].name", volume)
    for index, volume in enumerate(spec.get("volumes", ())):
        if len(volume) > 1 + _VOLUME_SOURCES_LIMIT:
            yield forbidden_field(f"{path}.volumes[{index}]", "may not specify more than 1 volume type")
    seen: set[str] = set()
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field, ())):
            yield from _container_causes(container, f"{path}.{field}[{index}]", seen, volumes)
    node = spec.get("nodeName")
    if node and (problem := dns_subdomain(node)):
        yield invalid(f"{path}.nodeName", node, problem)
    yield from label_causes(spec.get("nodeSelector") or {}, f"{path}.nodeSelector")
    hostname = spec.get("hostname")
    if hostname and (problem := dns_label(hostname)):
        yield invalid(f"{path}.hostname", hostname, problem)


def _container_causes(container: Object, path: str, seen: set[str], volumes: list[Any]) -> Iterator[Cause]:
    name = container.get("name", "")
    if name and (problem := dns_label(name)):
        yield invalid(f"{path}.name", name, problem)
    if name and name in seen:
        yield duplicate(f"{path}.name", name)
    seen.add(name)
    image = container.get("image", "")
    if not image:
        yield required(f"{path}.image")
    elif image != image.strip():
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    yield from _port_causes(container, path)
    for index, variable in enumerate(container.get("env", ())):
        if "=" in variable.get("name", ""):
            yield invalid(f"{path}.env[{index}].name", variable["name"], "must not contain '='")
        if variable.get("value") and variable.get("valueFrom"):
            yield invalid(f"{path}.env[{index}].valueFrom", "", "may not be specified when `value` is not empty")
    for index, mount in enumerate(container.get("volumeMounts", ())):
        if mount.get("name") not in volumes:
            yield Cause(f"{path}.volumeMounts[{index}].name", f'Not found: "{mount.get("name")}"', "FieldValueNotFound")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            yield from _probe_causes(container[probe], f"{path}.{probe}")


def _port_causes(container: Object, path: str) -> Iterator[Cause]:
    names = [port["name"] for port in container.get("ports", ()) if port.get("name")]
    for index, port in enumerate(names):
        if problem := dns_label(port) or ("must be no more than 15 characters" if len(port) > 15 else ""):
            yield invalid(f"{path}.ports[{index}].name", port, problem)
        if port in names[:index]:
            yield duplicate(f"{path}.ports[{index}].name", port)


def _probe_causes(probe: Object, path: str) -> Iterator[Cause]:
    handlers = [handler for handler in ("exec", "httpGet", "tcpSocket", "grpc") if handler in probe]
    if not handlers:
        yield required(path, "must specify a handler type")
    elif len(handlers) > 1:
        yield forbidden_field(f"{path}.{handlers[1]}", "may not specify more than 1 handler type")


def _comparable(spec: Object) -> Object:
    """The spec without what an update may change."""
    kept = {
        key: value
        for key, value in spec.items()
        if key not in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates")
    }
    for field in ("containers", "initContainers"):
        if field in kept:
            kept[field] = [{**container, "image": "", "imagePullPolicy": ""} for container in kept[field]]
    return kept


class PodStrategy(Strategy):
    """Pods."""

    selectable = frozenset(_FIELDS)
    status_carries_metadata = True

    def default(self, obj: Object) -> None:
        if "spec" in obj:
            default_spec(obj["spec"])

    def before_create(self, obj: Object, context: Context) -> None:
        spec = obj["spec"]
        spec["serviceAccountName"] = spec["serviceAccount"] = spec.get("serviceAccountName") or "default"
        spec.setdefault("priority", 0)
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
        tolerated = {(term.get("key"), term.get("effect")) for term in spec.get("tolerations", ())}
        for taint in _UNREACHABLE:
            if not tolerated & {(taint, "NoExecute"), (taint, None), (None, "NoExecute"), (None, None)}:
                toleration = {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
                spec.setdefault("tolerations", []).append(toleration)
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}

    def before_update(self, obj: Object, old: Object, context: Context) -> None:
        status = obj.setdefault("status", {})
        status.setdefault("phase", at(old, "status.phase", "Pending"))
        status["qosClass"] = at(old, "status.qosClass") or qos_class(obj["spec"])

    def validate(self, obj: Object) -> Iterator[Cause]:
        yield from spec_causes(obj["spec"], "spec")

    def validate_update(self, obj: Object, old: Object) -> Iterator[Cause]:
        new, before = obj["spec"], old["spec"]
        if _comparable(new) != _comparable(before):
            names = sorted(key for key in {*new, *before} if _comparable(new).get(key) != _comparable(before).get(key))
            hint = "; bind the pod through its binding subresource" if names == ["nodeName"] else ""
            yield forbidden_field("spec", f"{_MUTABLE} (changed: {', '.join(names)}{hint})")
        if any(toleration not in new.get("tolerations", ()) for toleration in before.get("tolerations", ())):
            yield forbidden_field("spec.tolerations", "existing toleration can not be modified except its seconds")
        if len(new["containers"]) != len(before["containers"]):
            yield forbidden_field("spec.containers", "pod updates may not add or remove containers")

    def fields(self, obj: Object) -> dict[str, str]:
        values = {label: at(obj, path) for label, path in _FIELDS.items()}
        return {label: str(value) for label, value in values.items() if value}

    def grace_seconds(self, obj: Object, asked: int | None) -> int:
        if not at(obj, "spec.nodeName") or at(obj, "status.phase") in ("Succeeded", "Failed"):
            return 0
        return int(at(obj, "spec.terminationGracePeriodSeconds", 30)) if asked is None else asked


def template_causes(template: Object, selector: Object, path: str) -> Iterator[Cause]:
    """What is wrong with a workload's pod template and the *selector* that must choose its pods."""
    labels = at(template, "metadata.labels", {})
    yield from label_causes(labels, f"{path}.template.metadata.labels")
    wanted = selector.get("matchLabels") or {}
    if not wanted and not selector.get("matchExpressions"):
        yield invalid(f"{path}.selector", "{}", "empty selector is invalid for a workload")
    if any(labels.get(key) != value for key, value in wanted.items()):
        yield invalid(f"{path}.template.metadata.labels", labels, "`selector` does not match template `labels`")
    if "spec" in template:
        yield from spec_causes(template["spec"], f"{path}.template.spec")
        policy = template["spec"].get("restartPolicy", "Always")
        if policy != "Always":
            yield not_supported(f"{path}.template.spec.restartPolicy", policy, ["Always"])
