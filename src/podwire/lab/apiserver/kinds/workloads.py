"""Deployments, ReplicaSets and DaemonSets: their templates are defaulted and validated as pods are."""

from __future__ import annotations

from collections.abc import Iterator

from podwire.lab.apiserver.errors import Cause, forbidden_field, invalid
from podwire.lab.apiserver.kinds.pods import default_spec, template_causes
from podwire.lab.apiserver.kinds.strategy import Object, Strategy, at, changed


class WorkloadStrategy(Strategy):
    """What all workloads share: a selector that never changes, and a template."""

    def default(self, obj: Object) -> None:
        template = at(obj, "spec.template.spec")
        if template is not None:
            default_spec(template)

    def validate(self, obj: Object) -> Iterator[Cause]:
        spec = obj["spec"]
        yield from template_causes(spec.get("template") or {}, spec["selector"], "spec")

    def validate_update(self, obj: Object, old: Object) -> Iterator[Cause]:
        if changed(obj, old, "spec.selector"):
            yield invalid("spec.selector", at(obj, "spec.selector"), "field is immutable")


class DeploymentStrategy(WorkloadStrategy):
    """Deployments."""

    def default(self, obj: Object) -> None:
        super().default(obj)
        strategy = at(obj, "spec.strategy", {})
        if strategy.get("type") == "RollingUpdate":
            strategy.setdefault("rollingUpdate", {"maxSurge": "25%", "maxUnavailable": "25%"})

    def validate(self, obj: Object) -> Iterator[Cause]:
        yield from super().validate(obj)
        strategy = obj["spec"]["strategy"]
        if strategy.get("type") == "Recreate" and "rollingUpdate" in strategy:
            detail = "may not be specified when strategy `type` is 'Recreate'"
            yield forbidden_field("spec.strategy.rollingUpdate", detail)
        rolling = strategy.get("rollingUpdate") or {}
        if rolling and all(rolling.get(name) in (0, "0%") for name in ("maxSurge", "maxUnavailable")):
            yield invalid("spec.strategy.rollingUpdate.maxUnavailable", 0, "may not be 0 when `maxSurge` is 0")


class DaemonSetStrategy(WorkloadStrategy):
    """DaemonSets."""

    def default(self, obj: Object) -> None:
        super().default(obj)
        strategy = at(obj, "spec.updateStrategy", {})
        if strategy.get("type") == "RollingUpdate":
            strategy.setdefault("rollingUpdate", {"maxSurge": 0, "maxUnavailable": 1})
