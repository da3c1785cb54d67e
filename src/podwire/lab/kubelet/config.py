"""The kubelet's configuration file: YAML, camelCase keys, written by the lab for each node.

::

    nodeName: n1
    nodeAddresses: [10.89.0.11]            # InternalIPs; the first is where the kubelet listens
    kubeconfig: /etc/podwire/kubeconfig    # as system:node:NAME
    servingCert: /etc/podwire/kubelet.crt
    servingKey: /etc/podwire/kubelet.key
    tokenFile: /etc/podwire/kubelet-token  # who presents this bearer token may exec and read logs
    stateDir: /run/podwire-kubelet         # must end with the node's boot: a tmpfs
    logDir: /var/log/pods
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import msgspec
import yaml

from podwire.model.errors import ConfigError


class KubeletConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """All settings; times are seconds. The defaults suit a lab: they heal faster than a real kubelet's."""

    node_name: str
    node_addresses: tuple[str, ...]
    kubeconfig: str
    serving_cert: str
    serving_key: str
    token_file: str
    state_dir: str = "/run/podwire-kubelet"
    log_dir: str = "/var/log/pods"
    port: int = 10250
    conf_dir: str = "/etc/cni/net.d"
    bin_dirs: tuple[str, ...] = ("/opt/cni/bin",)
    cache_dir: str = "/var/lib/cni/results"
    netns_dir: str = "/run/netns"
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    max_pods: int = 250
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    restart_backoff: float = 1.0
    restart_backoff_max: float = 60.0
    lease_seconds: int = 15
    status_interval: float = 5.0


def load(path: Path) -> KubeletConfig:
    """Read the file; ConfigError names what is wrong with it."""
    try:
        config = msgspec.convert(yaml.safe_load(path.read_text()), KubeletConfig)
        for text in config.node_addresses:
            ip_address(text)
    except (OSError, yaml.YAMLError, msgspec.ValidationError, ValueError) as error:
        raise ConfigError("kubelet configuration", str(path), f"cannot be used: {error}") from error
    if not config.node_addresses:
        raise ConfigError("nodeAddresses", None, "is empty", remedy="give the node's address on the underlay")
    return config
