"""The CNI project's own caller, cnitool, drives ADD, CHECK, DEL, GC and STATUS against a real agent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent_node import AgentNode, agent_node
from tests.support.netns import needs_root
from tests.support.node import wait_for
from tests.support.tools import tool, tool_dir

pytestmark = [needs_root, pytest.mark.root, pytest.mark.e2e]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentNode]:
    with agent_node(tmp_path_factory.mktemp("agent") / "log") as found:
        yield found


def cnitool(made: AgentNode, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run cnitool in the node, with its default conflist directory."""
    environment = ("env", "NETCONFPATH=/etc/cni/net.d", "CNI_PATH=/opt/cni/bin", "CNI_IFNAME=eth0")
    return made.node.run(*environment, tool("cnitool"), *arguments, check=check)


def test_status_of_a_ready_agent(made: AgentNode) -> None:
    assert cnitool(made, "status", "podwire", "/").stdout == ""


def test_add_check_del(made: AgentNode) -> None:
    path = made.node.pod_namespace("tool-a")
    result = json.loads(cnitool(made, "add", "podwire", path).stdout)
    address = result["ips"][0]["address"].split("/")[0]
    assert result["cniVersion"] == "1.1.0"
    assert (
        made.node.run("ip", "netns", "exec", "tool-a", "ip", "-4", "-o", "addr", "show", "eth0").stdout.split()[3]
        == f"{address}/32"
    )
    made.node.run("ping", "-c1", "-W2", address)
    cnitool(made, "check", "podwire", path)
    made.node.run("ip", "netns", "exec", "tool-a", "ip", "route", "del", "default")
    broken = cnitool(made, "check", "podwire", path, check=False)
    assert broken.returncode and "0.0.0.0/0" in broken.stdout + broken.stderr
    cnitool(made, "del", "podwire", path)
    assert made.ask("/v1/ip")["attachments"] == []
    cnitool(made, "del", "podwire", path)


def containers(made: AgentNode) -> list[str]:
    """The container ids that the agent knows."""
    return [found["container"] for found in made.ask("/v1/ip")["attachments"]]


def test_gc_of_cnitool_leaves_nothing(made: AgentNode) -> None:
    """cnitool keeps no attachment: libcni deletes all that it remembers, then calls GC without a list."""
    for name in ("gc-a", "gc-b"):
        cnitool(made, "add", "podwire", made.node.pod_namespace(name))
    assert len(containers(made)) == 2
    cnitool(made, "gc", "podwire", "/")
    assert containers(made) == []


def test_gc_removes_the_dead_and_spares_the_living(made: AgentNode) -> None:
    for name in ("living", "dead"):
        assert made.cni("ADD", name, made.node.pod_namespace(name))[0] == 0
    made.node.run("ip", "netns", "del", "dead")
    silent, empty = made.plugin_config("1.1.0"), {**made.plugin_config("1.1.0"), "cni.dev/valid-attachments": []}
    assert made.cni("GC", "", "", config=silent)[0] == 0
    assert set(containers(made)) == {"living", "dead"}, "a runtime that does not testify frees nothing"

    def collected(left: set[str]) -> bool:  # a namespace's links go some milliseconds after its name
        return made.cni("GC", "", "", config=empty)[0] == 0 and set(containers(made)) == left

    wait_for(lambda: collected({"living"}), "the dead pod to be collected, and it alone", 10)
    made.node.run("ping", "-c1", "-W2", made.ask("/v1/ip")["attachments"][0]["ips"][0])
    made.node.run("ip", "netns", "del", "living")
    wait_for(lambda: collected(set()), "the second witness", 10)


def test_a_dead_agent_is_told_and_del_still_succeeds(made: AgentNode) -> None:
    path = made.node.pod_namespace("tool-b")
    cnitool(made, "add", "podwire", path)
    made.kill_agent()
    status = cnitool(made, "status", "podwire", "/", check=False)
    assert status.returncode and "agent" in status.stdout + status.stderr
    refused = cnitool(made, "add", "podwire", made.node.pod_namespace("tool-c"), check=False)
    assert refused.returncode and "agent" in refused.stdout + refused.stderr
    cnitool(made, "del", "podwire", path)
    assert list((made.node.root / "run/podwire/spool").iterdir()) != []
    made.start_agent()
    wait_for(lambda: made.ask("/v1/ip").get("attachments") == [], "the deferred DEL to be carried out", 20)


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_every_version_of_the_specification(made: AgentNode, version: str) -> None:
    """libcni parses our result in the version of the configuration, and hands it back for CHECK and DEL."""
    plugin = {"type": "podwire"}
    result = with_conflist(made, {"cniVersion": version, "name": "podwire", "plugins": [plugin]})
    assert result["cniVersion"] == version
    assert (result["ips"][0].get("version") == "4") == (version < "1.0.0")
    assert result["ips"][0]["gateway"] == "169.254.1.1"


def test_first_in_a_chain(made: AgentNode) -> None:
    """The reference tuning plugin comes after podwire and sets a sysctl in the pod."""
    tuning = {"type": "tuning", "sysctl": {"net.core.somaxconn": "777"}}
    result = with_conflist(made, {"cniVersion": "1.0.0", "name": "podwire", "plugins": [{"type": "podwire"}, tuning]})
    assert [found["name"] for found in result["interfaces"]][1:] == ["eth0"]


def test_last_in_a_chain(made: AgentNode) -> None:
    """The reference loopback plugin comes first; podwire adds to its result and keeps what it says."""
    chain = [{"type": "loopback"}, {"type": "podwire"}]
    result = with_conflist(made, {"cniVersion": "1.0.0", "name": "podwire", "plugins": chain})
    names = [found["name"] for found in result["interfaces"]]
    assert names[0] == "lo" and names[2] == "eth0"
    assert "127.0.0.1/8" in [found["address"] for found in result["ips"]]


def with_conflist(made: AgentNode, conflist: dict[str, Any]) -> dict[str, Any]:
    """ADD, CHECK (as far as the version has it) and DEL through cnitool with *conflist*; the result of the ADD."""
    name = f"list-{len(list((made.node.root / 'mnt').iterdir()))}"
    directory = made.node.root / "mnt" / name
    directory.mkdir()
    (directory / "10-test.conflist").write_text(json.dumps(conflist))
    path = made.node.pod_namespace(name)
    plugins = tool_dir("tuning", "loopback")
    command = (
        "env",
        f"NETCONFPATH=/mnt/{name}",
        f"CNI_PATH=/opt/cni/bin:{plugins}",
        "CNI_IFNAME=eth0",
        tool("cnitool"),
    )
    result: dict[str, Any] = json.loads(made.node.run(*command, "add", "podwire", path).stdout)
    address = result["ips"][-1]["address"].split("/")[0]
    made.node.run("ping", "-c1", "-W2", address)
    if conflist["cniVersion"] != "0.3.1":
        made.node.run(*command, "check", "podwire", path)
    made.node.run(*command, "del", "podwire", path)
    assert containers(made) == []
    return result


def test_the_log_names_no_secret(made: AgentNode) -> None:
    assert "token" not in Path(made.log).read_text().lower()
