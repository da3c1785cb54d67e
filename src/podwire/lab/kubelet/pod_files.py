"""The files that a pod's containers see as their own: /etc/hosts, /etc/resolv.conf, /etc/hostname, volumes. Texts are pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from podwire.lab.kubelet.environment import Sources, hostname
from podwire.lab.kubelet.objects import ObjectVolume, Pod, Volume
from podwire.lab.kubelet.runtime.messages import Mount
from podwire.model.errors import InputError


def hosts(pod: Pod, ips: Sequence[str], cluster_domain: str) -> str:
    """/etc/hosts, as the kubelet writes it."""
    lines = ["# Written by the lab's kubelet.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    names = [hostname(pod)]
    if pod.spec.subdomain:
        names.insert(0, f"{names[0]}.{pod.spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}")
    lines += [f"{ip}\t{' '.join(names)}" for ip in ips]
    lines += [f"{alias.ip}\t{' '.join(alias.hostnames)}" for alias in pod.spec.host_aliases]
    return "\n".join(lines) + "\n"


def resolv_conf(pod: Pod, node_file: str, cluster_dns: Sequence[str], cluster_domain: str) -> str:
    """/etc/resolv.conf by the pod's dnsPolicy. *node_file* is the node's own; no cluster DNS yet means just that one."""
    policy = pod.spec.dns_policy
    of_cluster = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not pod.spec.host_network)
    config = pod.spec.dns_config
    if policy == "None":
        text = ""
    elif of_cluster and cluster_dns:
        search = f"{pod.metadata.namespace}.svc.{cluster_domain} svc.{cluster_domain} {cluster_domain}"
        text = "".join(f"nameserver {server}\n" for server in cluster_dns) + f"search {search}\noptions ndots:5\n"
    else:
        text = node_file if node_file.endswith("\n") or not node_file else node_file + "\n"
    text += "".join(f"nameserver {server}\n" for server in config.nameservers)
    if config.searches:
        text += f"search {' '.join(config.searches)}\n"
    if config.options:
        text += f"options {' '.join(o.name + (':' + o.value if o.value else '') for o in config.options)}\n"
    return text


def write_pod_files(directory: Path, pod: Pod, texts: Mapping[str, str]) -> list[Mount]:
    """Write *texts* (by path in the container) below *directory*; the mounts that show them in each container."""
    mounts = []
    for target, text in texts.items():
        path = directory / "etc" / Path(target).name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
        mounts.append(Mount(source=str(path), target=target, read_only=False))
    return mounts


def volume_mounts(directory: Path, pod: Pod, sources: Sources) -> dict[str, Path]:
    """Prepare the pod's volumes below *directory*: where each is, by name. InputError for a kind that the lab lacks."""
    return {volume.name: _prepare(directory / "volumes" / volume.name, volume, sources) for volume in pod.spec.volumes}


def _prepare(place: Path, volume: Volume, sources: Sources) -> Path:
    if volume.host_path:
        path = Path(volume.host_path.path)
        if volume.host_path.type == "DirectoryOrCreate":
            path.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            raise InputError(f"volume {volume.name}", str(path), "does not exist on this node")
        return path
    if volume.empty_dir is not None:
        place.mkdir(mode=0o777, parents=True, exist_ok=True)
        place.chmod(0o777)
        return place
    if volume.config_map:
        return _files(place, volume.name, "configmap", volume.config_map.name, volume.config_map, sources)
    if volume.secret:
        return _files(place, volume.name, "secret", volume.secret.secret_name, volume.secret, sources)
    raise InputError(
        f"volume {volume.name}", None, "is of a kind that the lab does not have",
        remedy="use emptyDir, hostPath, configMap or secret",
    )  # fmt: skip


def _files(place: Path, volume: str, kind: str, name: str, wanted: ObjectVolume, sources: Sources) -> Path:
    content = sources.content(kind, name)
    if content is None and not wanted.optional:
        raise InputError(f"volume {volume}", name, f"there is no such {kind}")
    chosen = {item.path: item.key for item in wanted.items} or {key: key for key in content or {}}
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    for path, key in chosen.items():
        if key not in (content or {}):
            if wanted.optional:
                continue
            raise InputError(f"volume {volume}", key, f"{kind} {name} has no such key")
        target = place / path
        if ".." in Path(path).parts or (target.is_absolute() and not target.is_relative_to(place)):
            raise InputError(f"volume {volume}", path, "leads out of the volume")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((content or {})[key])
        target.chmod(0o600 if kind == "secret" else 0o644)
    return place
