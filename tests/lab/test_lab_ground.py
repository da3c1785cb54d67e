"""Fabric, sandboxes and life cycle on the real kernel, with stand-ins for what the hosts run."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire.lab import nodes, processes
from podwire.lab.cluster import Lab
from podwire.lab.lifecycle import down, up
from podwire.lab.sandbox import syscalls
from podwire.lab.spec import LabSpec
from podwire.lab.state import LabDirectory, Record, lab_names
from podwire.model.errors import InputError, LabError
from tests.support.lab_programs import SleepingPrograms
from tests.support.netns import needs_root

pytestmark = [needs_root, pytest.mark.lab]


def _machine() -> tuple[str, ...]:
    """All of the machine that a lab could spoil: its links, addresses, routes and firewall."""
    commands = (["ip", "-brief", "link"], ["ip", "-brief", "addr"], ["ip", "route"], ["nft", "list", "ruleset"])
    return tuple(subprocess.run(command, capture_output=True, text=True, check=True).stdout for command in commands)


@pytest.fixture(scope="module", autouse=True)
def parent() -> Iterator[Path]:
    """All labs of this module live below a directory of their own, and leave nothing."""
    directory = Path(tempfile.mkdtemp(prefix="podwire-labs-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODWIRE_LAB_DIR", str(directory / "labs"))
        before = _machine()
        try:
            yield directory / "labs"
        finally:
            for name in lab_names():
                down(name)
        left = [*syscalls.mount_points(str(directory)), *(str(path) for path in directory.iterdir())]
        assert left == []
        assert _machine() == before
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def programs() -> SleepingPrograms:
    return SleepingPrograms()


@pytest.fixture(scope="module")
def lab(parent: Path, programs: SleepingPrograms) -> Iterator[Lab]:
    """Four nodes in two subnets, IPv4 and IPv6."""
    spec = LabSpec(name="ground", nodes=4, subnets=2, underlay=("10.89.0.0/16", "fd89::/48"))
    made = up(spec, programs)
    yield made
    down("ground")


def _reaches(lab: Lab, source: str, target: object, size: int = 56) -> bool:
    """Patient enough for a neighbour solicitation that has to be repeated after a second."""
    command = ["ping", "-n", "-q", "-c", "3", "-i", "0.01", "-W", "3", "-s", str(size), "-M", "do", str(target)]
    return lab.node(source).run(command, check=False).returncode == 0


def test_every_host_reaches_every_other_and_the_world(lab: Lab) -> None:
    for target in ("node2", "node3"):  # of the other subnet, of the same
        for own in lab.node(target).addresses:
            assert _reaches(lab, "node1", own), own
    for address in ("198.51.100.10", "2001:db8:100::a", "10.89.1.10", "fd89:0:0:1::a"):
        assert _reaches(lab, "node4", address), address


def test_the_fabric_has_no_route_for_pod_addresses(lab: Lab) -> None:
    assert not _reaches(lab, "node1", "10.244.2.5")


def test_a_node_has_the_sysctls_of_a_fresh_namespace(lab: Lab) -> None:
    fresh = subprocess.run(
        ["unshare", "--net", "cat", "/proc/sys/net/ipv4/ip_forward"], capture_output=True, text=True, check=True
    )
    assert lab.node("node1").run(["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == fresh.stdout


def test_a_cut_node_is_alone_until_healed(lab: Lab) -> None:
    node, peer = lab.node("node1"), lab.node("node3").addresses[0]
    node.cut()
    try:
        assert node.link == "cut" and lab.node("node3").link == "up"
        assert not _reaches(lab, "node1", peer)
    finally:
        node.heal()
    assert node.link == "up"
    _until(lambda: _reaches(lab, "node1", peer))  # the kernel may take a second to notice the carrier


def test_a_segments_mtu_changes_live_and_holds_for_later_cables(lab: Lab, programs: SleepingPrograms) -> None:
    peer = lab.node("node3").addresses[0]
    assert _reaches(lab, "node1", peer, 1472)
    lab.fabric.set_mtu(1400, 1)
    try:
        assert not _reaches(lab, "node1", peer, 1373)
        assert _reaches(lab, "node1", peer, 1372)
        nodes.reboot(lab.name, "node3", programs)
        assert "mtu 1400" in lab.node("node3").run(["ip", "link", "show", "eth0"]).stdout
    finally:
        lab.fabric.set_mtu(1500, 1)
    assert _reaches(lab, "node1", peer, 1472)


def test_loss_is_random_and_ends(lab: Lab) -> None:
    lab.fabric.set_loss(50)
    try:
        out = (
            lab.node("node1")
            .run(
                ["ping", "-n", "-q", "-c", "60", "-i", "0.002", "-W", "1", str(lab.node("node3").addresses[0])],
                check=False,
            )
            .stdout
        )
        received = int(out.split(" received")[0].rpartition(" ")[2])
        assert 0 < received < 45  # a quarter is expected; 1e-14 is the chance of 45 or more
    finally:
        lab.fabric.set_loss(0)
    assert _reaches(lab, "node1", lab.node("node3").addresses[0])


def _udp_arrives(lab: Lab, port: int) -> bool:
    receiver, sender = lab.node("node3"), lab.node("node1")
    script = (
        "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.settimeout(1)\n"
        f"s.bind(('',{port}))\nprint('bound',flush=True)\nprint(s.recvfrom(9)[0].decode())"
    )
    listening = subprocess.Popen(
        receiver.command([sys.executable, "-c", script]), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert listening.stdout is not None
    try:
        assert listening.stdout.readline() == "bound\n"
        address = receiver.addresses[0]
        send = f"import socket;socket.socket(2,2).sendto(b'hello',('{address}',{port}))"
        sender.run([sys.executable, "-c", send])
        return listening.stdout.read() == "hello\n"
    finally:
        listening.kill()
        listening.wait()
        listening.stdout.close()


def test_a_blocked_udp_port_stops_that_port_alone(lab: Lab) -> None:
    lab.fabric.block_udp(4789)
    try:
        assert not _udp_arrives(lab, 4789)
        assert _udp_arrives(lab, 4790)
    finally:
        lab.fabric.unblock_udp(4789)
    assert _udp_arrives(lab, 4789)


def test_a_node_has_files_of_its_own_and_leaves_none_on_the_machine(lab: Lab) -> None:
    one, other = lab.node("node1"), lab.node("node2")
    for path in ("/run/x", "/etc/cni/x", "/opt/cni/x", "/var/lib/x", "/var/log/x", "/tmp/podwire-x"):
        one.run(["sh", "-c", f"mkdir -p $(dirname {path}) && echo one > {path}"])
        assert one.path(path).read_text() == "one\n"
        assert other.run(["cat", path], check=False).returncode
        assert not Path(path).exists()
    assert one.run(["touch", "/usr/x"], check=False).returncode, "the machine's files must be read-only"
    assert one.run(["hostname"]).stdout == "node1\n"
    assert one.run(["getent", "ahostsv4", "control-plane"]).stdout.split()[0] == "10.89.1.10"
    assert one.run(["ls", "/sys/class/net"]).stdout.split() == ["eth0", "lo"]


def test_podwire_itself_can_be_run_in_a_node(lab: Lab) -> None:
    out = lab.node("node1").run([sys.executable, "-c", "import podwire, msgspec; print(podwire.__version__)"])
    assert out.stdout.strip()


def test_a_killed_service_comes_back_and_a_disabled_one_does_not(lab: Lab) -> None:
    node = lab.node("node2")
    first = node.service_process("agent")
    assert first is not None
    processes.send(first, signal.SIGKILL)
    _until(lambda: node.service_process("agent") not in (None, first))
    assert node.services()["agent"].last_exit == "was killed by signal 9"
    node.enable("agent", False)
    _until(lambda: node.services()["agent"].state == "stopped")
    node.enable("agent", True)
    _until(lambda: node.service_process("agent") is not None)


def test_a_reboot_keeps_identity_and_disk_and_forgets_the_rest(lab: Lab, programs: SleepingPrograms) -> None:
    node = lab.node("node2")
    node.run(["sh", "-c", "echo kept > /var/lib/kept; echo lost > /run/lost"])
    node.run(["ip", "link", "add", "pwtest", "type", "bridge"])
    identity = node.run(["cat", "/sys/class/net/eth0/address"]).stdout
    before, boot = node.pid, node.boot_id
    assert node.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip() == boot
    nodes.reboot(lab.name, "node2", programs, hard=True)
    assert node.pid != before and node.boot_id != boot
    assert node.run(["cat", "/sys/class/net/eth0/address"]).stdout == identity
    assert node.run(["cat", "/var/lib/kept"]).stdout == "kept\n"
    assert node.run(["cat", "/run/lost"], check=False).returncode
    assert node.run(["ls", "/sys/class/net"]).stdout.split() == ["eth0", "lo"]
    assert _reaches(lab, "node2", lab.node("node4").addresses[0])


def test_a_cut_node_stays_cut_over_a_reboot(lab: Lab, programs: SleepingPrograms) -> None:
    lab.node("node2").cut()
    nodes.reboot(lab.name, "node2", programs)
    assert lab.node("node2").link == "cut"
    lab.node("node2").heal()


def test_a_node_comes_and_goes(lab: Lab, programs: SleepingPrograms) -> None:
    node = nodes.add(lab.name, programs, segment=2)
    assert (node.name, node.segment, str(node.addresses[0])) == ("node6", 2, "10.89.2.13")
    now = Lab.load(lab.name)
    assert _reaches(now, "node6", now.node("node1").addresses[0])
    pid = node.pid
    nodes.remove(lab.name, "node6", programs)
    assert programs.forgotten[-1] == "node6"
    assert processes.identify(pid) is None
    assert not node.directory.exists() and not node.netns_path.exists()
    with pytest.raises(LabError, match="its nodes: node1, node2, node3, node4"):
        Lab.load(lab.name).node("node6")


@pytest.mark.parametrize(("name", "says"), [("node1", "exists already"), ("router", "host of the fabric")])
def test_a_node_that_cannot_be_added_is_refused(lab: Lab, programs: SleepingPrograms, name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        nodes.add(lab.name, programs, name=name)


def test_the_control_plane_answers_on_the_machines_loopback(lab: Lab) -> None:
    with socket.create_connection(("127.0.0.1", lab.record.api_port), timeout=10) as peer:
        assert peer.recv(64) == b"control-plane"
    killed = lab.control.service_process("greeter")
    assert killed is not None
    processes.send(killed, signal.SIGKILL)
    _until(lambda: lab.control.service_process("greeter") not in (None, killed))
    with socket.create_connection(("127.0.0.1", lab.record.api_port), timeout=10) as peer:  # the socket outlived it
        assert peer.recv(64) == b"control-plane"


def test_an_init_that_dies_takes_its_host_along(lab: Lab, programs: SleepingPrograms) -> None:
    node = lab.node("node4")
    agent = node.service_process("agent")
    assert agent is not None
    init = node.process
    assert init is not None
    processes.send(init, signal.SIGKILL)
    assert processes.wait_gone([agent, init], 10) == []
    with pytest.raises(LabError, match="is not running"):
        _ = node.pid
    nodes.reboot(lab.name, "node4", programs)
    assert node.pid


def test_two_labs_stand_side_by_side(lab: Lab, programs: SleepingPrograms) -> None:
    other = up(LabSpec(name="second", nodes=1), programs)
    try:
        assert _reaches(other, "node1", "198.51.100.10")
        mounts = lab.node("node1").run(["cut", "-d ", "-f5", "/proc/self/mountinfo"]).stdout.splitlines()
        assert "/var/lib" in mounts
        pinned = [point for point in mounts if point.startswith(str(lab.directory.parent))]
        assert pinned == [], "a node must not keep any lab's namespaces alive"
        with pytest.raises(LabError, match="exists already"):
            up(LabSpec(name="second", nodes=1), programs)
        assert Lab.load("second").node("node1").pid, "a refused up must not harm the lab that is there"
    finally:
        assert down("second")
    assert not down("second"), "twice is fine"
    assert _reaches(lab, "node1", "198.51.100.10")


@pytest.mark.parametrize("step", ["control", "nodes"])
def test_an_interrupted_up_leaves_nothing(parent: Path, step: str) -> None:
    failing = SleepingPrograms()
    failing.fail_on = step
    with pytest.raises(KeyboardInterrupt):
        up(LabSpec(name="stopped", nodes=2), failing)
    assert not (parent / "stopped").exists()
    assert processes.members(str(parent / "stopped")) == []


def test_down_works_after_everything_was_killed(parent: Path, programs: SleepingPrograms) -> None:
    made = up(LabSpec(name="killed", nodes=2), programs)
    for member in processes.members(made.directory.marker):
        processes.send(member, signal.SIGKILL)
    assert down("killed")
    assert not (parent / "killed").exists() and syscalls.mount_points(str(parent / "killed")) == []


def test_down_finds_processes_whose_records_were_lost(parent: Path, programs: SleepingPrograms) -> None:
    made = up(LabSpec(name="lost", nodes=1), programs)
    running = processes.members(made.directory.marker)
    assert len(running) >= 6  # three hosts, each an init and a service
    for record in (*made.directory.path.glob("*/*/process.json"), made.directory.path / "lab.json"):
        record.unlink()
    with pytest.raises(LabError, match="podwire lab down --name lost"):
        Lab.load("lost")
    assert down("lost")
    assert [one for one in running if processes.alive(one)] == []


_KILLED_UP = """
import os, signal, sys, threading
from podwire.lab.lifecycle import up
from podwire.lab.spec import LabSpec
from tests.support.lab_programs import SleepingPrograms
def die(text, left=[int(sys.argv[1])]):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
up(LabSpec(name="half", nodes=2), SleepingPrograms(), die)
"""


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_down_cleans_up_after_an_up_that_was_killed(parent: Path, step: int) -> None:
    root = Path(__file__).parent.parent.parent
    killed = subprocess.run([sys.executable, "-c", _KILLED_UP, str(step)], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(LabError, match="exists already"):
        up(LabSpec(name="half"), SleepingPrograms())
    assert down("half")
    assert not (parent / "half").exists()
    assert processes.members(str(parent / "half")) == []


def test_a_lab_from_before_a_reboot_of_the_machine_is_told_apart(parent: Path) -> None:
    directory = LabDirectory("old")
    directory.create()
    directory.write(Record(spec=LabSpec(name="old"), boot="another boot"))
    with pytest.raises(LabError, match="rebooted since"):
        Lab.load("old")
    assert down("old")


def _until(condition: object) -> None:
    """Wait for something that must happen, however long this machine takes (pytest's timeout is the limit)."""
    assert callable(condition)
    waiter = signal.sigtimedwait
    while not condition():
        waiter([], 0.02)


def test_only_root_reads_a_labs_state(lab: Lab) -> None:
    assert lab.directory.path.stat().st_mode & 0o077 == 0
