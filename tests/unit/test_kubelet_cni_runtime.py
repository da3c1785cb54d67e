"""The runtime's half of CNI, against plugins that write down what they were given."""

from __future__ import annotations

import json
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from podwire.lab.kubelet.cni_cache import Target
from podwire.lab.kubelet.cni_conf import Network, NotReady, load_first, negotiate, parse
from podwire.lab.kubelet.cni_runtime import CniRuntime, addresses_of, plugin_configuration, plugin_error
from podwire.model.errors import CniError, InputError

RECORDER = """#!/bin/sh
n=$(ls "{log}" | wc -l)
file="{log}/$(printf %03d $n).$(basename $0).$CNI_COMMAND"
env | grep ^CNI_ | sort > "$file.env"
cat > "$file"
[ -f "{log}/../$(basename $0).$CNI_COMMAND" ] && . "{log}/../$(basename $0).$CNI_COMMAND"
exit 0
"""
TARGET = Target(
    "c" * 64,
    "/run/netns/cni-1",
    args={"IgnoreUnknown": "1", "K8S_POD_NAME": "web"},
    capabilities={"ips": ["10.0.0.9/24"]},
)


class Plugins:
    """A directory of plugins, and the record of their calls."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log"
        self.conf = root / "net.d"
        for path in (self.log, self.conf, root / "bin"):
            path.mkdir()
        self.runtime = CniRuntime(self.conf, [root / "bin"], root / "cache", timeout=10)

    def add(self, name: str, **scripts: str) -> None:
        """Install plugin *name*; *scripts* map a verb to what it runs (shell)."""
        binary = self.root / "bin" / name
        binary.write_text(RECORDER.format(log=self.log))
        binary.chmod(0o755)
        for verb, script in scripts.items():
            (self.root / f"{name}.{verb}").write_text(script)

    def configure(self, *types: str, **changes: object) -> Network:
        document = {
            "name": "net", "cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"],
            "plugins": [{"type": kind, "capabilities": {"ips": kind == "one"}} for kind in types], **changes,
        }  # fmt: skip
        (self.conf / "10-net.conflist").write_text(json.dumps(document))
        return self.runtime.network()

    def calls(self) -> list[tuple[str, str, dict[str, Any], dict[str, str]]]:
        """(plugin, verb, stdin, environment) of each call so far."""
        files = sorted(path for path in self.log.iterdir() if path.suffix != ".env")
        result = []
        for path in files:
            _, plugin, verb = path.name.split(".")
            lines = Path(f"{path}.env").read_text().splitlines()
            result.append((plugin, verb, json.loads(path.read_text()), dict(line.split("=", 1) for line in lines)))
        return result


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    return Plugins(tmp_path)


def answer(address: str) -> str:
    result = {"cniVersion": "1.1.0", "interfaces": [{"name": "pw1"}, {"name": "eth0", "sandbox": "/x"}]}
    return f"echo '{json.dumps({**result, 'ips': [{'address': address, 'interface': 1}]})}'"


async def test_add_runs_the_chain_in_order_and_passes_results_on(plugins: Plugins) -> None:
    plugins.add("one", ADD=answer("10.244.1.5/32"))
    plugins.add("two", ADD=answer("10.244.1.6/32"))
    assert await plugins.runtime.add(plugins.configure("one", "two"), TARGET) == (ip_interface("10.244.1.6/32"),)
    (first, _, first_in, env), (second, _, second_in, _) = plugins.calls()
    assert (first, second) == ("one", "two")
    assert env == {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c" * 64, "CNI_NETNS": "/run/netns/cni-1", "CNI_IFNAME": "eth0",
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web", "CNI_PATH": str(plugins.root / "bin"),
    }  # fmt: skip
    assert first_in["cniVersion"] == "1.1.0" and first_in["name"] == "net" and "prevResult" not in first_in
    assert first_in["runtimeConfig"] == {"ips": ["10.0.0.9/24"]}
    assert "runtimeConfig" not in second_in
    assert second_in["prevResult"]["ips"][0]["address"] == "10.244.1.5/32"


async def test_del_runs_backwards_with_the_configuration_and_result_of_the_add(plugins: Plugins) -> None:
    plugins.add("one", ADD=answer("10.244.1.5/32"))
    plugins.add("two", ADD=answer("10.244.1.6/32"))
    network = plugins.configure("one", "two")
    await plugins.runtime.add(network, TARGET)
    changed = plugins.configure("one", mtu=9000)
    await plugins.runtime.delete(changed, TARGET)
    await plugins.runtime.delete(changed, TARGET)  # nothing cached any more: the configuration in force is used
    deletes = [(plugin, stdin) for plugin, verb, stdin, _ in plugins.calls() if verb == "DEL"]
    assert [plugin for plugin, _ in deletes] == ["two", "one", "one"]
    assert all(stdin["prevResult"]["ips"][0]["address"] == "10.244.1.6/32" for _, stdin in deletes[:2])
    assert "prevResult" not in deletes[2][1]
    assert list((plugins.root / "cache").iterdir()) == []


async def test_delete_without_any_configuration_uses_the_cache(plugins: Plugins) -> None:
    plugins.add("one", ADD=answer("10.244.1.5/32"))
    await plugins.runtime.add(plugins.configure("one"), TARGET)
    await plugins.runtime.delete(None, TARGET)
    await plugins.runtime.delete(None, TARGET)
    assert [verb for _, verb, _, _ in plugins.calls()] == ["ADD", "DEL"]


async def test_a_failing_plugin_stops_the_chain_and_is_quoted(plugins: Plugins) -> None:
    error = json.dumps({"cniVersion": "1.1.0", "code": 11, "msg": "the agent is not running", "details": "start it"})
    plugins.add("one", ADD=f"echo '{error}'; exit 1")
    plugins.add("two")
    with pytest.raises(CniError) as caught:
        await plugins.runtime.add(plugins.configure("one", "two"), TARGET)
    assert caught.value.code == 11
    assert str(caught.value) == 'plugin type="one" failed (add): the agent is not running; start it'
    assert [plugin for plugin, *_ in plugins.calls()] == ["one"]


async def test_check_gives_the_cached_result_and_honours_disable(plugins: Plugins) -> None:
    plugins.add("one", ADD=answer("10.244.1.5/32"))
    network = plugins.configure("one")
    with pytest.raises(CniError, match="no cached result"):
        await plugins.runtime.check(network, TARGET)
    await plugins.runtime.add(network, TARGET)
    await plugins.runtime.check(network, TARGET)
    await plugins.runtime.check(plugins.configure("one", disableCheck=True), TARGET)
    checks = [stdin for _, verb, stdin, _ in plugins.calls() if verb == "CHECK"]
    assert [stdin["prevResult"]["ips"][0]["address"] for stdin in checks] == ["10.244.1.5/32"]


async def test_gc_deletes_what_is_cached_but_gone_and_names_what_is_valid(plugins: Plugins) -> None:
    plugins.add("one", ADD=answer("10.244.1.5/32"))
    network = plugins.configure("one")
    other = Target("d" * 64, "/run/netns/cni-2")
    await plugins.runtime.add(network, TARGET)
    await plugins.runtime.add(network, other)
    await plugins.runtime.gc(network, [TARGET])
    deleted, collected = plugins.calls()[2:]
    assert (deleted[1], deleted[3]["CNI_CONTAINERID"]) == ("DEL", "d" * 64)
    assert collected[1] == "GC" and "CNI_CONTAINERID" not in collected[3]
    assert collected[2]["cni.dev/valid-attachments"] == [{"containerID": "c" * 64, "ifname": "eth0"}]


async def test_status_is_asked_only_from_version_1_1_0(plugins: Plugins) -> None:
    plugins.add("one", STATUS="""echo '{"code": 50, "msg": "starting"}'; exit 1""")
    await plugins.runtime.status(plugins.configure("one", cniVersions=["1.0.0"]))
    with pytest.raises(CniError, match="starting"):
        await plugins.runtime.status(plugins.configure("one"))
    assert [verb for _, verb, _, _ in plugins.calls()] == ["STATUS"]


async def test_a_plugin_that_is_not_there_or_hangs_is_an_error(plugins: Plugins) -> None:
    with pytest.raises(CniError, match='failed to find plugin "absent" in path'):
        await plugins.runtime.add(plugins.configure("absent"), TARGET)
    plugins.add("slow", ADD="exec sleep 60")
    impatient = CniRuntime(plugins.conf, [plugins.root / "bin"], plugins.root / "cache", timeout=0.05)
    with pytest.raises(CniError, match="no answer"):
        await impatient.add(plugins.configure("slow"), TARGET)


@pytest.mark.parametrize(
    ("out", "err", "code", "text"),
    [
        (b'{"code": 7, "msg": "bad"}', b"", 7, "bad"),
        (b"", b"panic: boom", 100, "panic: boom"),
        (b"", b"", 100, "no error message"),
        (b"[]", b"", 100, "[]"),
        (b'{"code": "x", "msg": 1}', b"", 100, "code"),
    ],
)
def test_errors_of_every_shape_become_sentences(out: bytes, err: bytes, code: int, text: str) -> None:
    error = plugin_error("one", "ADD", out, err)
    assert error.code == code and text in str(error)


@pytest.mark.parametrize(
    ("version", "versions", "chosen"),
    [("1.0.0", [], "1.0.0"), ("1.0.0", ["1.0.0", "1.1.0"], "1.1.0"), ("0.4.0", ["2.0.0", "0.3.1"], "0.4.0")],
)
def test_the_highest_common_version_is_chosen(version: str, versions: list[str], chosen: str) -> None:
    assert negotiate(version, versions) == chosen


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"name": "x", "plugins": []}', '{"name": "x", "cniVersion": "0.2.0", "type": "a"}',
     '{"name": "x", "cniVersion": "1.0.0", "plugins": [{"type": "../evil"}]}', '{"name": 3, "type": "a"}'],
)  # fmt: skip
def test_wrong_configurations_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse(text.encode())


def test_a_wrong_file_does_not_hide_the_next_and_is_named_when_alone(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="no network configuration found"):
        load_first(tmp_path / "absent")
    (tmp_path / "00-broken.conf").write_text("{")
    with pytest.raises(NotReady, match=r"00-broken\.conf"):
        load_first(tmp_path)
    (tmp_path / "05-ignored.txt").write_text("{}")
    (tmp_path / "10-good.conf").write_text('{"name": "n", "cniVersion": "1.0.0", "type": "bridge"}')
    network = load_first(tmp_path)
    assert (network.name, network.version, network.plugins[0]["type"]) == ("n", "1.0.0", "bridge")
    assert plugin_configuration(network, network.plugins[0], None, None)["cniVersion"] == "1.0.0"


def test_only_addresses_inside_the_sandbox_count() -> None:
    interfaces = [{"name": "br0"}, {"name": "eth0", "sandbox": "/run/netns/x"}]
    ips = [
        {"address": "10.0.0.1/24", "interface": 0},
        {"address": "10.0.0.5/24", "interface": 1},
        {"address": "fd::5/64"},
    ]
    assert addresses_of({"interfaces": interfaces, "ips": ips}) == (
        ip_interface("10.0.0.5/24"),
        ip_interface("fd::5/64"),
    )
    assert addresses_of({}) == ()
