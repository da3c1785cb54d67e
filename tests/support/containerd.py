"""A real containerd with runc in a test node, an image that is made here, and crictl to drive both through CRI.

Differences from an ordinary installation, all because of where tests run: the OOM score is not lowered (needs
CAP_SYS_RESOURCE), and cgroups hang below one of the test's own, so that nothing of them is left behind.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.support.node import Node, wait_for
from tests.support.tools import tool

IMAGE = "podwire.test/echo:1"
SOCKET = "unix:///run/containerd/containerd.sock"
_ECHO = r"""
/* Waits for ever as a sandbox, or answers each TCP connection with the peer's address as a container. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (argc < 2) for (;;) pause();
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))}, peer;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&self, sizeof self) || listen(fd, 16)) return 1;
    for (;;) {
        socklen_t size = sizeof peer;
        int client = accept(fd, (struct sockaddr *)&peer, &size);
        char text[INET_ADDRSTRLEN];
        dprintf(client, "%s\n", inet_ntop(AF_INET, &peer.sin_addr, text, sizeof text));
        close(client);
    }
}
"""
_CONFIG = """
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
"""


class Containerd:
    """containerd in *node*; call :meth:`start`, and :meth:`close` before the node's own."""

    def __init__(self, node: Node, directory: Path, log: Path) -> None:
        self.node = node
        self.log = log
        self.cgroup = f"podwire-test-{os.getpid()}"
        self._directory = directory

    def start(self) -> None:
        """Start containerd, import the image."""
        root = self.node.root
        (root / "opt/cni/bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(tool("loopback"), root / "opt/cni/bin/loopback")
        (root / "mnt/containerd.toml").write_text(_CONFIG.format(image=IMAGE))
        (root / "mnt/image.tar").write_bytes(image(self._directory))
        self.process = self.node.start("containerd", "--config", "/mnt/containerd.toml", log=self.log)
        wait_for(lambda: self.crictl("version", check=False).returncode == 0, "containerd", 30)
        self.node.run("ctr", "-n", "k8s.io", "images", "import", "/mnt/image.tar")

    def crictl(self, *arguments: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run crictl in the node."""
        return self.node.run(
            tool("crictl"), "-r", SOCKET, "-i", SOCKET, "-t", "30s", *arguments, check=check, timeout=timeout
        )

    def run_pod(self, name: str, port: int) -> str:
        """A pod with one container that answers on *port*; the sandbox's id."""
        mnt = self.node.root / "mnt"
        pod = {
            "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "attempt": 0},
            "linux": {"cgroup_parent": f"/{self.cgroup}"},
        }
        container = {
            "metadata": {"name": "echo"},
            "image": {"image": IMAGE},
            "command": ["/echo", str(port)],
            "linux": {},
        }
        (mnt / f"{name}-pod.json").write_text(json.dumps(pod))
        (mnt / f"{name}-container.json").write_text(json.dumps(container))
        sandbox = self.crictl("runp", f"/mnt/{name}-pod.json").stdout.strip()
        made = self.crictl(
            "create", "--no-pull", sandbox, f"/mnt/{name}-container.json", f"/mnt/{name}-pod.json"
        ).stdout.strip()
        self.crictl("start", made)
        return sandbox

    def address(self, sandbox: str) -> str:
        """The pod's address as CRI reports it."""
        found: str = json.loads(self.crictl("inspectp", sandbox).stdout)["status"]["network"]["ip"]
        return found

    def close(self) -> None:
        """Remove every pod, end containerd, remove the cgroups."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self.crictl("rmp", "-a", "-f", check=False)
        with contextlib.suppress(OSError):
            self.node.kill_inside(self.process)
        for hierarchy in Path("/sys/fs/cgroup").iterdir():
            for path in sorted(hierarchy.glob(f"**/{self.cgroup}*/**/"), reverse=True):
                with contextlib.suppress(OSError):
                    path.rmdir()


def image(directory: Path) -> bytes:
    """An OCI image layout (image-spec 1.0) as a tar, with one static program."""
    source, program = directory / "echo.c", directory / "echo"
    source.write_text(_ECHO)
    compiler = "musl-gcc" if shutil.which("musl-gcc") else "gcc"
    subprocess.run([compiler, "-static", "-Os", "-s", "-o", str(program), str(source)], check=True)
    layer = _tar({"echo": (program.read_bytes(), 0o755)})
    config = json.dumps({
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux",
        "config": {"Entrypoint": ["/echo"]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }).encode()  # fmt: skip
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    }).encode()  # fmt: skip
    entry = {
        **_descriptor("application/vnd.oci.image.manifest.v1+json", manifest),
        "annotations": {"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": "1"},
    }
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
    }
    files |= {f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}": blob for blob in (layer, config, manifest)}
    return _tar({name: (content, 0o644) for name, content in files.items()})


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _descriptor(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}
