"""The container runtime on this kernel: supervisors and containers in throw-away namespaces."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from podwire.lab.kubelet.runtime.client import SOURCE, Sandbox, SandboxGone, StartRefused, launch
from podwire.lab.kubelet.runtime.messages import ContainerSpec, ContainerState, SandboxSpec
from podwire.lab.kubelet.runtime.syscalls import CAPABILITIES
from tests.support.netns import namespace, needs_root

pytestmark = [needs_root, pytest.mark.root]
BASIC = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "NET_RAW", "SETGID", "SETPCAP", "SETUID"]


def container(directory: Path, *argv: str, name: str = "main", attempt: int = 0, **changes: object) -> ContainerSpec:
    staging = directory / f"root-{name}"
    staging.mkdir(exist_ok=True)
    spec = ContainerSpec(
        name=name, attempt=attempt, argv=list(argv), env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, cwd="/",
        staging=str(staging), visible=[], mounts=[], capabilities=BASIC, privileged=False, no_new_privileges=False,
        read_only_root=False, overlay=True, uid=0, gid=0, groups=[], log=str(directory / f"{name}.log"),
    )  # fmt: skip
    return {**spec, **changes}  # type: ignore[typeddict-item]


@asynccontextmanager
async def sandbox(directory: Path, pod: str = "default/web") -> AsyncIterator[Sandbox]:
    with namespace() as netns:
        box = await launch(
            SandboxSpec(pod=pod, dir=str(directory), hostname="web", netns=f"/proc/{os.getpid()}/fd/{netns}")
        )
        try:
            yield box
        finally:
            await box.quit()
            with contextlib.suppress(ProcessLookupError):  # one that a test killed, or that hangs
                os.kill(box.pid, signal.SIGKILL)


async def ended(box: Sandbox, name: str = "main") -> ContainerState:
    async for states in box.watch():
        if name in states and states[name]["exit"]:
            return states[name]
    raise AssertionError("the watch ended")


def printed(path: str) -> list[str]:
    """The lines of a CRI log, without their stamps."""
    return [line.split(" ", 3)[3] for line in Path(path).read_text().splitlines()]


async def run(box: Sandbox, spec: ContainerSpec) -> tuple[int, list[str]]:
    await box.start(spec)
    state = await ended(box, spec["name"])
    assert state["exit"] is not None
    return state["exit"]["code"], printed(spec["log"])


async def gone(pid: int) -> bool:
    for _ in range(500):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        await asyncio.sleep(0.01)
    return False


@pytest.mark.parametrize("overlay", [True, False])
async def test_a_container_has_namespaces_of_its_own_and_shares_the_pods(tmp_path: Path, overlay: bool) -> None:
    script = (
        "echo pid $$; hostname; ls /sys/class/net; for n in net uts ipc mnt pid; do readlink /proc/self/ns/$n; done"
    )
    async with sandbox(tmp_path) as box:
        code, lines = await run(box, container(tmp_path, "sh", "-c", script, overlay=overlay))
        assert code == 0
        assert lines[:3] == ["pid 1", "web", "lo"]
        for kind, line in zip(("net", "uts", "ipc", "mnt", "pid"), lines[3:], strict=True):
            same = line == str(Path(f"/proc/{box.pid}/ns/{kind}").readlink())
            assert same == (kind in ("net", "uts", "ipc")), kind


@pytest.mark.parametrize("overlay", [True, False])
async def test_what_a_container_writes_stays_its_own(tmp_path: Path, overlay: bool) -> None:
    marker = f"/written-by-{os.getpid()}"
    script = f"echo x > /tmp/a && echo x > /run/a && ls -A /run && (echo x > {marker} || echo refused) 2>/dev/null"
    async with sandbox(tmp_path) as box:
        code, lines = await run(box, container(tmp_path, "sh", "-c", script, overlay=overlay))
        assert (code, lines) == (0, ["a"] if overlay else ["a", "refused"])
    assert not Path(marker).exists()
    assert not Path("/tmp/a").exists()


async def test_containers_leave_no_mount_and_no_file_on_the_node(tmp_path: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    async with sandbox(tmp_path) as box:
        await box.start(container(tmp_path, "sleep", "1000"))
        assert Path("/proc/self/mountinfo").read_text() == before
        assert list((tmp_path / "root-main").iterdir()) == []
    assert Path("/proc/self/mountinfo").read_text() == before


async def test_volumes_appear_where_asked_and_as_asked(tmp_path: Path) -> None:
    data, resolv = tmp_path / "data", tmp_path / "resolv.conf"
    data.mkdir()
    resolv.write_text("nameserver 10.96.0.10\n")
    mounts = [
        {"source": str(data), "target": "/srv/made/here", "read_only": False},
        {"source": str(data), "target": "/srv/locked", "read_only": True},
        {"source": str(resolv), "target": "/etc/resolv.conf", "read_only": True},
    ]
    script = (
        "cat /etc/resolv.conf; echo hello > /srv/made/here/f; cat /srv/locked/f; (echo > /srv/locked/f) 2>&- || echo ro"
    )
    async with sandbox(tmp_path) as box:
        _, lines = await run(box, container(tmp_path, "sh", "-c", script, mounts=mounts))
        assert lines == ["nameserver 10.96.0.10", "hello", "ro"]
    assert (data / "f").read_text() == "hello\n"


async def test_capabilities_are_those_asked_for(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        _, lines = await run(box, container(tmp_path, "grep", "^Cap", "/proc/self/status", capabilities=["NET_RAW"]))
        wanted = 1 << CAPABILITIES.index("NET_RAW")
        sets = {line.split(":")[0]: int(line.split()[1], 16) for line in lines}
        assert sets == {"CapInh": 0, "CapPrm": wanted, "CapEff": wanted, "CapBnd": wanted, "CapAmb": 0}
        _, lines = await run(
            box, container(tmp_path, "grep", "^CapEff", "/proc/self/status", name="p", privileged=True)
        )
        assert int(lines[0].split()[1], 16) & 1 << CAPABILITIES.index("SYS_ADMIN")


async def test_an_unprivileged_container_cannot_change_the_kernels_settings(tmp_path: Path) -> None:
    script = "(echo 1 > /proc/sys/net/ipv4/ip_forward) 2>&- && echo written || echo refused"
    async with sandbox(tmp_path) as box:
        assert (await run(box, container(tmp_path, "sh", "-c", script)))[1] == ["refused"]
        assert (await run(box, container(tmp_path, "sh", "-c", script, name="p", privileged=True)))[1] == ["written"]


async def test_a_container_runs_as_the_user_asked_for(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        _, lines = await run(box, container(tmp_path, "id", uid=1234, gid=77, groups=[88]))
        assert "uid=1234" in lines[0] and "gid=77" in lines[0] and "88" in lines[0]


async def test_a_missing_command_is_refused_with_its_errno(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        with pytest.raises(StartRefused) as refusal:
            await box.start(container(tmp_path, "no-such-command"))
        assert (refusal.value.stage, refusal.value.errno) == ("exec", errno.ENOENT)
        with pytest.raises(StartRefused) as refusal:
            await box.start(container(tmp_path, "true", cwd="/no/such/place"))
        assert refusal.value.stage == "enter the working directory"
        assert await box.state() == {}


async def test_exit_codes_and_signals_are_told(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        assert (await run(box, container(tmp_path, "sh", "-c", "exit 3")))[0] == 3
        await box.start(container(tmp_path, "sleep", "1000", attempt=1))
        assert await box.signal("main", signal.SIGKILL)
        state = await ended(box)
        assert state["exit"] is not None
        assert (state["attempt"], state["exit"]["code"], state["exit"]["signal"]) == (1, 137, 9)
        assert not await box.signal("main", signal.SIGTERM)


async def test_the_log_is_complete_when_the_end_is_told(tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo oops >&2; printf unfinished"
    async with sandbox(tmp_path) as box:
        _, lines = await run(box, container(tmp_path, "sh", "-c", script))
        assert [line for line in lines if line.startswith("line")] == [f"line {number}" for number in range(3000)]
        assert {"oops", "unfinished"} <= set(lines)


async def read_all(fd: int) -> bytes:
    return await asyncio.to_thread(lambda: b"".join(iter(lambda: os.read(fd, 65536), b"")))


async def execute(box: Sandbox, argv: Sequence[str]) -> tuple[int, str]:
    null = os.open("/dev/null", os.O_RDONLY)
    read, write = os.pipe()
    try:
        process = await box.exec("main", argv, [null, write, write])
    finally:
        os.close(null)
        os.close(write)
    try:
        output = await read_all(read)
        return (await process.wait())["code"], output.decode()
    finally:
        os.close(read)
        process.close()


async def test_exec_joins_every_namespace_of_the_container(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        pid = await box.start(container(tmp_path, "sh", "-c", "echo there > /tmp/file; exec sleep 1000"))
        kinds = ("net", "uts", "ipc", "mnt", "pid")
        code, output = await execute(
            box, ["sh", "-c", "cat /tmp/file; for n in net uts ipc mnt pid; do readlink /proc/self/ns/$n; done; exit 7"]
        )
        assert code == 7
        assert output.split() == ["there", *(str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in kinds)]
        with pytest.raises(StartRefused):
            await execute(box, ["no-such-command"])


async def test_an_exec_dies_with_its_connection(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        await box.start(container(tmp_path, "sleep", "1000"))
        null = os.open("/dev/null", os.O_RDWR)
        process = await box.exec("main", ["sleep", "2000"], [null, null, null])
        os.close(null)
        process.close()
        for _ in range(200):
            code, output = await execute(box, ["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"])
            if "2000" not in output:
                break
            await asyncio.sleep(0.02)
        assert code == 0 and "2000" not in output and "sleep 1000" in output


async def test_killing_the_supervisor_kills_the_pod(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        first = await box.start(container(tmp_path, "sh", "-c", "sleep 1000 & sleep 1001"))
        second = await box.start(container(tmp_path, "sleep", "1000", name="second", uid=1234, gid=1234))
        os.kill(box.pid, signal.SIGKILL)
        assert await gone(first) and await gone(second)
        with pytest.raises(SandboxGone):
            await box.state()


async def test_a_client_that_starts_over_finds_everything(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        pid = await box.start(container(tmp_path, "sleep", "1000", attempt=4))
        again = await Sandbox(box.directory).state()
        assert (again["main"]["pid"], again["main"]["attempt"], again["main"]["exit"]) == (pid, 4, None)
        with pytest.raises(StartRefused, match="runs already"):
            await box.start(container(tmp_path, "sleep", "1000"))


async def test_garbage_on_the_socket_harms_nobody(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        await box.start(container(tmp_path, "sleep", "1000"))
        for garbage in (b"\n", b"{}\n", b'{"op": "start", "spec": {}}\n', b'{"op": "exec"}\n', b"\xff\xfe\n", b"[1]\n"):
            reader, writer = await box._open({"op": "state"})
            await reader.readline()
            writer.write(garbage)
            assert "stage" in json.loads(await reader.readline())
            writer.close()
        assert (await box.state())["main"]["exit"] is None


def test_the_supervisor_starts_on_light_imports_alone() -> None:
    script = (
        f"import sys; sys.path.insert(0, {SOURCE!r}); import podwire.lab.kubelet.runtime.supervisor; "
        "print('\\n'.join(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    loaded = set(output.stdout.split())
    assert not loaded & {"asyncio", "subprocess", "dataclasses", "msgspec", "aiohttp", "click", "inspect", "pathlib"}
