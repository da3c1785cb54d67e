"""Services, EndpointSlices and NetworkPolicies: cluster IPs and node ports are given here."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from podwire.lab.apiserver import errors
from podwire.lab.apiserver.errors import Cause, invalid, required
from podwire.lab.apiserver.kinds.names import dns_label_1035
from podwire.lab.apiserver.kinds.strategy import Context, Object, Strategy, at

_SERVICES = "/services"


class ServiceStrategy(Strategy):
    """Services. An address that was given stays as long as the Service, and no two Services share one."""

    selectable = frozenset(("spec.clusterIP", "spec.type"))
    generation = False

    def name_problem(self, name: str) -> str:
        return dns_label_1035(name)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        kind = spec.setdefault("type", "ClusterIP")
        for port in spec.get("ports", ()):
            if "port" in port:
                port.setdefault("targetPort", port["port"])
            port.setdefault("protocol", "TCP")
        spec.setdefault("sessionAffinity", "None")
        if spec["sessionAffinity"] == "ClientIP":
            spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})
        if kind != "ExternalName":
            spec.setdefault("internalTrafficPolicy", "Cluster")
        if kind in ("NodePort", "LoadBalancer"):
            spec.setdefault("externalTrafficPolicy", "Cluster")
        if kind == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)

    def before_create(self, obj: Object, context: Context) -> None:
        obj["status"] = {"loadBalancer": {}}
        self._allocate(obj, context)

    def before_update(self, obj: Object, old: Object, context: Context) -> None:
        spec = obj["spec"]
        if spec.get("type") != "ExternalName":
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if field in old["spec"]:
                    spec.setdefault(field, old["spec"][field])
            numbers = {(port.get("protocol"), port.get("port")): port for port in old["spec"].get("ports", ())}
            for port in spec.get("ports", ()):
                before = numbers.get((port.get("protocol"), port.get("port"))) or {}
                if "nodePort" in before and spec.get("type") != "ClusterIP":
                    port.setdefault("nodePort", before["nodePort"])
        self._allocate(obj, context)

    def validate(self, obj: Object) -> Iterator[Cause]:
        spec = obj["spec"]
        ports, kind = spec.get("ports") or [], spec["type"]
        if kind == "ExternalName":
            if not spec.get("externalName"):
                yield required("spec.externalName")
        elif not ports and spec.get("clusterIP") != "None":
            yield required("spec.ports")
        names = [port.get("name", "") for port in ports]
        for index, name in enumerate(names):
            if not name and len(ports) > 1:
                yield required(f"spec.ports[{index}].name")
            elif name and name in names[:index]:
                yield errors.duplicate(f"spec.ports[{index}].name", name)

    def validate_update(self, obj: Object, old: Object) -> Iterator[Cause]:
        before, after = at(old, "spec.clusterIP"), at(obj, "spec.clusterIP")
        if before and after != before and "ExternalName" not in (at(obj, "spec.type"), at(old, "spec.type")):
            yield invalid("spec.clusterIPs[0]", after, "may not change once set")

    def fields(self, obj: Object) -> dict[str, str]:
        spec = obj["spec"]
        found = {"spec.clusterIP": spec.get("clusterIP", ""), "spec.type": spec.get("type", "")}
        found["clusterIPs"] = ",".join(spec.get("clusterIPs") or ())
        found["nodePorts"] = ",".join(str(port["nodePort"]) for port in spec.get("ports", ()) if "nodePort" in port)
        return {label: value for label, value in found.items() if value}

    def _allocate(self, obj: Object, context: Context) -> None:
        spec, name = obj["spec"], obj["metadata"]["name"]
        if spec.get("type") == "ExternalName":
            return
        others = [
            fields
            for fields in context.transaction.fields(_SERVICES)
            if (fields["metadata.namespace"], fields["metadata.name"]) != (obj["metadata"]["namespace"], name)
        ]
        if spec.get("clusterIP") == "None":
            spec["clusterIPs"] = ["None"]
        else:
            _cluster_ips(spec, _taken(others, "clusterIPs"), context, name)
        if spec["type"] in ("NodePort", "LoadBalancer"):
            _node_ports(spec, _taken(others, "nodePorts"), context, name)


def _taken(others: list[dict[str, str]], field: str) -> set[str]:
    """The values that other Services hold in a field that lists several."""
    return {value for fields in others for value in fields.get(field, "").split(",") if value}


def _cluster_ips(spec: Object, taken: set[str], context: Context, name: str) -> None:
    asked = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    networks = context.settings.service_cidrs
    if asked and spec.get("clusterIP", asked[0]) != asked[0]:
        cause = invalid(
            "spec.clusterIP", spec["clusterIP"], "must be the first of clusterIPs, and may not change once set"
        )
        raise errors.invalid_object("Service", "services", name, [cause])
    if not asked:
        families = spec.get("ipFamilies") or [f"IPv{networks[0].version}"]
        chosen = [network for family in families for network in networks if family == f"IPv{network.version}"]
        if len(chosen) != len(families):
            served = ", ".join(str(network) for network in networks)
            cause = invalid("spec.ipFamilies", families, f"not configured on this cluster (service CIDRs: {served})")
            raise errors.invalid_object("Service", "services", name, [cause])
        asked = [_free(network, taken, name) for network in chosen]
    for index, address in enumerate(asked):
        problem = _unusable(address, taken, networks)
        if problem:
            raise errors.invalid_object(
                "Service", "services", name, [invalid(f"spec.clusterIPs[{index}]", address, problem)]
            )
    spec["clusterIPs"], spec["clusterIP"] = asked, asked[0]
    spec["ipFamilies"] = [f"IPv{ip_address(address).version}" for address in asked]
    spec.setdefault("ipFamilyPolicy", "SingleStack" if len(asked) == 1 else "RequireDualStack")


def _free(network: IPv4Network | IPv6Network, taken: set[str], name: str) -> str:
    # The first ten addresses are left for well-known services (kubernetes is .1, DNS is .10).
    for offset in range(11, min(network.num_addresses - 1, len(taken) + 12)):
        if (address := str(network[offset])) not in taken:
            return address
    raise errors.ApiError(500, "InternalError", f'no cluster IP is free in {network} for service "{name}"')


def _unusable(address: str, taken: set[str], networks: tuple[IPv4Network | IPv6Network, ...]) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return "must be a valid IP address, 'None' or empty"
    if not any(parsed.version == network.version and parsed in network for network in networks):
        return f"the provided IP is not in the valid range: {', '.join(str(network) for network in networks)}"
    return "provided IP is already allocated" if address in taken else ""


def _node_ports(spec: Object, taken: set[str], context: Context, name: str) -> None:
    if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        return
    used, numbers = {int(port) for port in taken}, context.settings.node_ports
    for index, port in enumerate(spec.get("ports", ())):
        number = port.get("nodePort") or next((free for free in numbers if free not in used), 0)
        if number not in numbers or number in used:
            problem = (
                "provided port is already allocated" if number in used else f"must be in {numbers[0]}-{numbers[-1]}"
            )
            cause = invalid(f"spec.ports[{index}].nodePort", number, problem)
            raise errors.invalid_object("Service", "services", name, [cause])
        port["nodePort"] = number
        used.add(number)


class EndpointSliceStrategy(Strategy):
    """EndpointSlices."""

    def validate(self, obj: Object) -> Iterator[Cause]:
        family = {"IPv4": 4, "IPv6": 6}.get(obj["addressType"])
        for index, endpoint in enumerate(obj.get("endpoints") or ()):
            for address in endpoint.get("addresses", ()) if family else ():
                try:
                    matches = ip_address(address).version == family
                except ValueError:
                    matches = False
                if not matches:
                    yield invalid(f"endpoints[{index}].addresses", address, f"must be an {obj['addressType']} address")

    def validate_update(self, obj: Object, old: Object) -> Iterator[Cause]:
        if obj.get("addressType") != old.get("addressType"):
            yield invalid("addressType", obj.get("addressType"), "field is immutable")


class NetworkPolicyStrategy(Strategy):
    """NetworkPolicies."""

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("podSelector", {})
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]

    def validate(self, obj: Object) -> Iterator[Cause]:
        spec = obj["spec"]
        for index, kind in enumerate(spec.get("policyTypes") or ()):
            if kind not in ("Ingress", "Egress"):
                yield errors.not_supported(f"spec.policyTypes[{index}]", kind, ["Ingress", "Egress"])
        for rules, side in (("ingress", "from"), ("egress", "to")):
            for number, rule in enumerate(spec.get(rules) or ()):
                for index, peer in enumerate(rule.get(side) or ()):
                    yield from _peer_causes(peer, f"spec.{rules}[{number}].{side}[{index}]")


def _peer_causes(peer: Object, path: str) -> Iterator[Cause]:
    block = peer.get("ipBlock")
    if not peer:
        yield required(path, "must specify a peer")
    if block is None:
        return
    if len(peer) > 1:
        yield errors.forbidden_field(path, "may not specify both ipBlock and another peer")
    try:
        network = ip_network(block.get("cidr", ""))
    except ValueError:
        yield invalid(f"{path}.ipBlock.cidr", block.get("cidr"), "must be a CIDR without host bits")
        return
    for index, text in enumerate(block.get("except") or ()):
        try:
            inner = ip_network(text)
            inside = inner.version == network.version and inner.subnet_of(network)  # type: ignore[arg-type]
        except ValueError:
            inside = False
        if not inside:
            yield invalid(f"{path}.ipBlock.except[{index}]", text, f"must be a strict subset of {network}")
