"""A real container runtime: containerd with runc starts containers through CRI with podwire as its network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.agent_node import AgentNode, agent_node
from tests.support.containerd import Containerd
from tests.support.netns import needs_root
from tests.support.node import wait_for

pytestmark = [needs_root, pytest.mark.root, pytest.mark.e2e]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentNode]:
    with agent_node(tmp_path_factory.mktemp("agent") / "log") as found:
        yield found


@pytest.fixture(scope="module")
def runtime(made: AgentNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    directory = tmp_path_factory.mktemp("containerd")
    found = Containerd(made.node, directory, directory / "log")
    try:
        found.start()
        yield found
    finally:
        found.close()


def test_the_network_is_ready(runtime: Containerd) -> None:
    assert '"NetworkReady"' in runtime.crictl("info").stdout
    wait_for(
        lambda: '"lastCNILoadStatus": "OK"' in runtime.crictl("info").stdout, "containerd to load the conflist", 20
    )


def test_a_container_answers_on_its_pod_address(made: AgentNode, runtime: Containerd) -> None:
    sandbox = runtime.run_pod("one", 8080)
    address = runtime.address(sandbox)
    known = made.ask("/v1/ip")["attachments"]
    assert [(found["pod"], found["ips"]) for found in known] == [("default/one", [address])]

    def seen() -> str:
        return made.node.run(
            "curl", "-s", "--max-time", "5", "--http0.9", f"http://{address}:8080/", check=False
        ).stdout.strip()

    wait_for(lambda: seen() == "10.89.0.11", "the container to see the node's address", 10)
    runtime.crictl("stopp", sandbox)
    assert made.ask("/v1/ip")["attachments"] == []
    runtime.crictl("rmp", sandbox)


def test_two_pods_see_each_others_addresses(made: AgentNode, runtime: Containerd) -> None:
    first, second = runtime.run_pod("first", 8080), runtime.run_pod("second", 8080)
    source, target = runtime.address(first), runtime.address(second)
    assert source != target
    netns = next(found for found in made.ask("/v1/wiring")["attachments"] if target not in str(found.get("ips", found)))
    path = netns["netns"]
    script = f"nsenter --net={path} curl -s --max-time 5 --http0.9 http://{target}:8080/"
    wait_for(
        lambda: made.node.run("sh", "-c", script, check=False).stdout.strip() == source,
        "the second pod to see the first",
        10,
    )


def test_pods_outlive_the_agent(made: AgentNode, runtime: Containerd) -> None:
    sandbox = runtime.run_pod("outlives", 8081)
    address = runtime.address(sandbox)
    made.kill_agent()
    made.node.run("ping", "-c1", "-W2", address)
    failed = runtime.crictl("runp", "/mnt/one-pod.json", check=False)
    assert failed.returncode and "agent" in failed.stderr + failed.stdout
    made.start_agent()
    made.node.run("ping", "-c1", "-W2", address)
    runtime.crictl("rmp", "-f", sandbox)
    wait_for(lambda: address not in str(made.ask("/v1/ip")["attachments"]), "the DEL", 10)
