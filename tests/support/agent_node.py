"""A node with a real agent on it: API server, underlay, agent, and CNI calls as a runtime makes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.node import Node, wait_for

API_PORT = 16443
NODE = "node-1"
ADDRESS = "10.89.0.11"


class AgentNode:
    """``node-1`` at 10.89.0.11 with the pod CIDR that was asked for, and as many peers as were asked for."""

    def __init__(
        self,
        *,
        log: Path,
        pod_cidr: str = "10.244.1.0/24",
        cluster_cidr: str = "10.244.0.0/16",
        peers: int = 0,
        **config: Any,
    ) -> None:
        self.node = Node()
        self.log = log
        self.pod_cidr = pod_cidr
        self._peers = peers
        self._config = {"cluster": {"podCidrs": [cluster_cidr]}} | config
        self.agent: subprocess.Popen[str] | None = None
        try:
            self._underlay()
            self._api()
        except BaseException:
            self.close()
            raise

    def _underlay(self) -> None:
        run = self.node.run
        run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "uplink")
        run("ip", "addr", "add", f"{ADDRESS}/24", "dev", "eth0")
        run("ip", "link", "set", "eth0", "up")
        run("ip", "link", "set", "uplink", "up")

    def _api(self) -> None:
        server = f"http://127.0.0.1:{API_PORT}"
        kubeconfig = {
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": server}}],
        }
        (self.node.root / "mnt/kubeconfig").write_text(json.dumps(kubeconfig))
        self.start_api()
        body = {
            "metadata": {"name": NODE},
            "spec": {"podCIDR": self.pod_cidr, "podCIDRs": [self.pod_cidr]},
            "status": {"addresses": [{"type": "InternalIP", "address": ADDRESS}]},
        }
        self.request("POST", "/api/v1/nodes", body)

    def start_api(self) -> None:
        """Start the API server in the node."""
        arguments = (sys.executable, "-m", "tests.support.node_api", API_PORT, self._peers)
        self.api = self.node.start(*map(str, arguments), log=self.log)
        wait_for(lambda: self.request("GET", "/api/v1/nodes?limit=1", check=False), "the API server", 30)

    def request(self, method: str, path: str, body: object = None, *, check: bool = True) -> bool:
        """A request to the API server; whether it succeeded."""
        command = ["curl", "-sSf", "-X", method, f"http://127.0.0.1:{API_PORT}{path}"]
        if body is not None:
            command += ["-d", json.dumps(body)]
        return self.node.run(*command, check=check).returncode == 0

    def start_agent(self, *, ready: bool = True, env: dict[str, str] | None = None) -> None:
        """Start (again) the agent, and wait until it is ready."""
        config = {
            "apiVersion": "podwire.io/v1alpha1",
            "kind": "Config",
            "node": {"name": NODE},
            "kubeconfig": "/mnt/kubeconfig",
            **self._config,
        }
        (self.node.root / "mnt/config.yaml").write_text(yaml.safe_dump(config))
        self.agent = self.node.start(
            sys.executable, "-m", "podwire", "agent", "--config", "/mnt/config.yaml", log=self.log, env=env
        )
        if ready:
            wait_for(self.ready, "the agent", 30)

    def ready(self) -> bool:
        """Whether the agent says that it is."""
        return bool(self.ask("/v1/status").get("ready"))

    def ask(self, path: str) -> dict[str, Any]:
        """GET from the agent's control socket; {} when it does not answer."""
        result = self.node.run(
            "curl",
            "-s",
            "--max-time",
            "10",
            "--unix-socket",
            "/run/podwire/control.sock",
            f"http://agent{path}",
            check=False,
        )
        try:
            answer = json.loads(result.stdout)
        except ValueError:
            return {}
        assert isinstance(answer, dict)
        return answer

    def kill_agent(self) -> None:
        """kill -9."""
        assert self.agent is not None
        self.node.kill_inside(self.agent)

    def plugin_config(self, version: str = "1.0.0") -> dict[str, Any]:
        """What a runtime hands to the plugin on stdin."""
        return {"cniVersion": version, "name": "podwire", "type": "podwire"}

    def cni(
        self,
        command: str,
        container: str,
        netns: str,
        *,
        config: dict[str, Any] | None = None,
        args: str = "",
        ifname: str = "eth0",
    ) -> tuple[int, dict[str, Any]]:
        """Execute the installed binary: (exit status, its answer)."""
        environment = [
            f"CNI_COMMAND={command}",
            f"CNI_CONTAINERID={container}",
            f"CNI_NETNS={netns}",
            f"CNI_IFNAME={ifname}",
            "CNI_PATH=/opt/cni/bin",
            f"CNI_ARGS={args}",
        ]
        result = self.node.run(
            "env", *environment, "/opt/cni/bin/podwire", check=False, input=json.dumps(config or self.plugin_config())
        )
        return result.returncode, json.loads(result.stdout) if result.stdout.strip() else {}

    def close(self) -> None:
        """End the node with all that runs in it."""
        self.node.close()


@contextmanager
def agent_node(log: Path, **options: Any) -> Iterator[AgentNode]:
    """An agent that is ready, for the length of the block; its log is printed when the block fails."""
    made = AgentNode(log=log, **options)
    try:
        made.start_agent()
        yield made
    except BaseException:
        print(log.read_text()[-8000:] if log.exists() else "no log", file=sys.stderr)
        raise
    finally:
        made.close()


def full() -> bool:
    """Whether the full counts are asked for (``./test --full``)."""
    return os.environ.get("PODWIRE_TEST_FULL") == "1"
