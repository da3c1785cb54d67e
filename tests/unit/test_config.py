"""The configuration: the default means what it prints, and whatever is wrong is named with its remedy."""

from __future__ import annotations

import pytest

from podwire.model import config
from podwire.model.config import Config, parse
from podwire.model.errors import ConfigError

HEAD = "apiVersion: podwire.io/v1alpha1\nkind: Config\n"


def test_the_default_round_trips() -> None:
    assert parse(config.default_yaml()) == Config()
    assert parse(HEAD) == Config()


def test_every_field_is_explained() -> None:
    rows = config.explain()
    assert all(description for _, _, _, description in rows)
    paths = {path for path, *_ in rows}
    assert {"backend.vxlan.vni", "cluster.podCidrs", "ipam.cooldownSeconds", "mtu"} <= paths


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("backend: {typ: vxlan}", ("backend.typ", "unknown key", "did you mean backend.type?")),
        ("backnd: {}", ("backnd", "unknown key", "did you mean backend?")),
        ("backend: {type: ipip}", ("backend.type", "'ipip'")),
        ("backend: {vxlan: {vni: 0}}", ("backend.vxlan.vni", "0", ">= 1")),
        ("backend: {vxlan: {port: high}}", ("backend.vxlan.port", "'high'", "int")),
        ("backend: vxlan", ("backend", "'vxlan'", "object")),
        ("cluster: {podCidrs: []}", ("cluster.podCidrs", "length >= 1")),
        ("cluster: {podCidrs: [10.244.0.1/16]}", ("cluster.podCidrs", "10.244.0.1/16", "did you mean 10.244.0.0/16?")),
        ("cluster: {podCidrs: [pods]}", ("cluster.podCidrs", "'pods'", "is not a CIDR")),
        ("cluster: {podCidrs: [10.1.0.0/16, 10.2.0.0/16]}", ("cluster.podCidrs", "one family")),
        ("cluster: {podCidrs: [10.96.0.0/16]}", ("cluster.serviceCidrs", "overlaps the pod CIDR 10.96.0.0/16")),
        ("cluster: {podCidrs: [127.0.0.0/16]}", ("cluster.podCidrs", "127.0.0.0/16", "not a unicast range")),
        ("cluster: {nodeMaskSizeIpv4: 12}", ("cluster.nodeMaskSizeIpv4", "12", "shorter than the pod CIDR")),
        (
            "cluster: {podCidrs: [10.0.0.0/8], nodeMaskSizeIpv4: 28, serviceCidrs: []}",
            ("nodeMaskSizeIpv4", "at most 24"),
        ),
        ("masquerade: {nonMasqueradeCidrs: [x]}", ("masquerade.nonMasqueradeCidrs", "'x'")),
        ("ipam: {reserved: [192.0.2.0/24]}", ("ipam.reserved", "192.0.2.0/24", "in no pod CIDR")),
        ("ipam: {cooldownSeconds: -1}", ("ipam.cooldownSeconds", "-1")),
        ("cni: {binDir: opt/cni}", ("cni.binDir", "'opt/cni'", "absolute")),
        ("cni: {network: ../x}", ("cni.network", "'../x'")),
        ("health: {bind: here}", ("health.bind", "'here'", "is not an IP address")),
        (f"runDir: /{'x' * 120}", ("runDir", "too long for a unix socket")),
        ("mtu: 100", ("mtu", "100", "below what IP requires")),
        ("node: {addressCidrs: [10.0.0.1/8]}", ("node.addressCidrs", "did you mean 10.0.0.0/8?")),
        ("logLevel: loud", ("logLevel", "'loud'")),
    ],
)
def test_what_is_wrong_is_named_with_value_and_remedy(text: str, says: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(HEAD + text, "file.yaml")
    message = str(raised.value)
    assert message.startswith("file.yaml: ")
    for part in says:
        assert part in message
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "apiVersion"),
        ("kind: Config", "write `apiVersion: podwire.io/v1alpha1`"),
        ("apiVersion: podwire.io/v2\nkind: Config", "must be podwire.io/v1alpha1"),
        ("apiVersion: podwire.io/v1alpha1\nkind: Pod", "must be Config"),
        ("- a list", "is not a mapping"),
        ("a: [", "is not YAML"),
        ("!!python/object/apply:os.system [true]", "is not YAML"),
    ],
)
def test_what_is_no_configuration_at_all_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
        parse(text)
