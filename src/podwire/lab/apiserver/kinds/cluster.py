"""Nodes and namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from podwire.lab.apiserver.errors import Cause, forbidden_field, invalid
from podwire.lab.apiserver.kinds.names import dns_label
from podwire.lab.apiserver.kinds.strategy import Context, Object, Strategy, at

IMMORTAL = ("default", "kube-system", "kube-public")
NAME_LABEL = "kubernetes.io/metadata.name"


class NodeStrategy(Strategy):
    """Nodes. Their pod CIDRs are set once: addresses have been given from them."""

    selectable = frozenset(("spec.unschedulable",))
    generation = False
    status_on_create = True
    status_carries_metadata = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        obj.setdefault("status", {})
        if spec.get("podCIDRs"):
            spec.setdefault("podCIDR", spec["podCIDRs"][0])
        elif spec.get("podCIDR"):
            spec["podCIDRs"] = [spec["podCIDR"]]

    def validate(self, obj: Object) -> Iterator[Cause]:
        families = set()
        cidrs = at(obj, "spec.podCIDRs", [])
        for index, cidr in enumerate(cidrs):
            path = f"spec.podCIDRs[{index}]"
            try:
                version = ip_network(cidr).version
            except ValueError:
                yield invalid(path, cidr, "must be a CIDR without host bits (e.g. 10.244.1.0/24)")
                continue
            if version in families:
                yield invalid(path, cidr, "may specify no more than one CIDR for each IP family")
            families.add(version)
        if cidrs and at(obj, "spec.podCIDR") != cidrs[0]:
            yield invalid("spec.podCIDR", at(obj, "spec.podCIDR"), f"must be the first of spec.podCIDRs, {cidrs[0]}")

    def validate_update(self, obj: Object, old: Object) -> Iterator[Cause]:
        before = at(old, "spec.podCIDRs", [])
        if before and at(obj, "spec.podCIDRs", []) != before:
            detail = f"node updates may not change pod CIDRs once set (now {', '.join(before)})"
            yield forbidden_field("spec.podCIDRs", detail)
        provider = at(old, "spec.providerID")
        if provider and at(obj, "spec.providerID") != provider:
            yield forbidden_field("spec.providerID", "node updates may not change providerID once set")

    def fields(self, obj: Object) -> dict[str, str]:
        return {"spec.unschedulable": "true" if at(obj, "spec.unschedulable") else "false"}


class NamespaceStrategy(Strategy):
    """Namespaces. Deleting one first empties it: the finalizer in its spec stands for that."""

    selectable = frozenset(("status.phase",))
    generation = False

    def name_problem(self, name: str) -> str:
        return dns_label(name)

    def before_create(self, obj: Object, context: Context) -> None:
        obj["metadata"].setdefault("labels", {})[NAME_LABEL] = obj["metadata"]["name"]
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}

    def before_update(self, obj: Object, old: Object, context: Context) -> None:
        obj["metadata"].setdefault("labels", {})[NAME_LABEL] = obj["metadata"]["name"]
        obj["spec"] = old.get("spec", {})

    def fields(self, obj: Object) -> dict[str, str]:
        return {"status.phase": str(at(obj, "status.phase", "Active"))}

    def undeletable(self, obj: Object) -> str:
        return "this namespace may not be deleted" if obj["metadata"]["name"] in IMMORTAL else ""
