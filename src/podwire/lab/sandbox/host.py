"""A sandbox seen from the machine: start it, stop it, find its processes, run a command in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from podwire.drivers import netns
from podwire.lab import processes
from podwire.lab.processes import ProcessId
from podwire.lab.sandbox import plan as plans
from podwire.lab.sandbox.init import PLAN_NAME
from podwire.lab.sandbox.mounts import BOOT_ID
from podwire.lab.sandbox.plan import SandboxPlan, ServicePlan
from podwire.model.errors import LabError

_BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from podwire.lab.sandbox.init import main; main()"
_PROCESS = "process.json"


class ServiceStatus(msgspec.Struct, frozen=True, rename="camel"):
    """How the init says a service is. *pid* is that of the sandbox's pid namespace, 0 when there is no process."""

    pid: int = 0
    state: str = "stopped"
    restarts: int = 0
    last_exit: str = ""


class Sandbox:
    """One host of a lab: its *directory* below the lab's state, its pinned network namespace, its *name*."""

    def __init__(self, name: str, directory: Path, netns_path: Path, logs: Path, marker: str) -> None:
        self.name = name
        self.directory = directory
        self.netns_path = netns_path
        self.logs = logs
        self.marker = marker

    # -- its files -----------------------------------------------------------------------------------------------

    @property
    def etc(self) -> Path:
        """What its /etc holds beside or instead of the machine's; write here only while it does not run."""
        return self._overlay("/etc")

    def _overlay(self, target: str) -> Path:
        return self.directory / "fs" / target.strip("/").replace("/", "-")

    def prepare(
        self,
        services: Mapping[str, ServicePlan],
        *,
        hide: Path,
        binds: Sequence[tuple[Path, str]] = (),
        descriptors: Mapping[str, int] | None = None,
        hosts: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Make its directories and write its plan.

        *hosts* maps addresses to names, for its /etc/hosts; *files* maps paths below /etc to content (mode 0600).
        """
        overlays: dict[str, tuple[str, str]] = {}
        for target in plans.OVERLAYS:
            upper, work = self._overlay(target), self._overlay(target).with_suffix(".work")
            upper.mkdir(parents=True, exist_ok=True)
            work.mkdir(parents=True, exist_ok=True)
            overlays[target] = (str(upper), str(work))
        private: list[tuple[str, str]] = []
        for target in plans.PRIVATE:
            self._overlay(target).mkdir(parents=True, exist_ok=True)
            private.append((str(self._overlay(target)), target))
        self._write_etc(hosts or {})
        for path, content in (files or {}).items():
            file = self.etc / Path(path).relative_to("/etc")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_bytes(content)
        self._write_plan(
            SandboxPlan(
                hostname=self.name,
                logs=str(self.logs),
                hide=str(hide),
                overlays=overlays,
                binds=(*private, *((str(source), target) for source, target in binds)),
                keep=plans.python_paths(),
                services=dict(services),
                descriptors=dict(descriptors or {}),
            )
        )

    def _write_etc(self, hosts: Mapping[str, str]) -> None:
        lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
        lines += [f"{address} {name}" for address, name in hosts.items()]
        texts = {
            "hostname": f"{self.name}\n",
            "hosts": "\n".join(lines) + "\n",
            "resolv.conf": "# This lab has no resolver yet: names fail at once, addresses work.\n",
        }
        for name, text in texts.items():
            file = self.etc / name
            file.unlink(missing_ok=True)  # it may be a link that leads out of here
            file.write_text(text)
            file.chmod(0o644)

    def _write_plan(self, plan: SandboxPlan) -> None:
        file = self.directory / PLAN_NAME
        temporary = file.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(plan))
        temporary.chmod(0o600)
        temporary.replace(file)

    # -- its life ------------------------------------------------------------------------------------------------

    def start(self) -> Starting:
        """Begin to start it; :meth:`Starting.finish` waits. Several may start at once."""
        (self.directory / "services.json").unlink(missing_ok=True)
        return Starting(self)

    def remember(self, process: ProcessId) -> None:
        """Keep its init's identity, for commands to come."""
        file = self.directory / _PROCESS
        file.with_suffix(".new").write_bytes(msgspec.json.encode(process))
        file.with_suffix(".new").replace(file)

    @property
    def process(self) -> ProcessId | None:
        """Its init if it runs."""
        try:
            recorded = msgspec.json.decode((self.directory / _PROCESS).read_bytes(), type=ProcessId)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None
        return recorded if processes.alive(recorded) else None

    @property
    def pid(self) -> int:
        """Its init's pid on the machine, so that ``/proc/PID/root/…`` is its file system; LabError when it is down."""
        process = self.process
        if process is None:
            raise LabError(f"{self.name} is not running", remedy=f"podwire lab node reboot {self.name}")
        return process.pid

    def path(self, inside: str) -> Path:
        """A path inside it, as the machine can open it."""
        return Path(f"/proc/{self.pid}/root") / inside.lstrip("/")

    @property
    def boot_id(self) -> str:
        """Tells this boot from every other, inside as well (/proc/sys/kernel/random/boot_id); LabError when down."""
        return self.path(BOOT_ID).read_text().strip()

    def plan(self) -> SandboxPlan:
        """What its init was told."""
        return msgspec.json.decode((self.directory / PLAN_NAME).read_bytes(), type=SandboxPlan)

    # -- its services --------------------------------------------------------------------------------------------

    def enable(self, service: str, enabled: bool) -> None:
        """Have the init keep a service running, or stop it and leave it stopped."""
        plan = self.plan()
        if service not in plan.services:
            raise LabError(f"{self.name} has no service {service}", remedy=f"it has {', '.join(plan.services)}")
        changed = msgspec.structs.replace(plan.services[service], enabled=enabled)
        self._write_plan(msgspec.structs.replace(plan, services={**plan.services, service: changed}))
        if process := self.process:
            processes.send(process, signal.SIGHUP)

    def services(self) -> dict[str, ServiceStatus]:
        """How its services are; all stopped when it is down."""
        try:
            text = (self.directory / "services.json").read_bytes()
            found = msgspec.json.decode(text, type=dict[str, ServiceStatus])
        except (FileNotFoundError, msgspec.DecodeError):
            found = {}
        if self.process is None:
            return {name: ServiceStatus(0, "down", one.restarts, one.last_exit) for name, one in found.items()}
        return found

    def service_process(self, service: str) -> ProcessId | None:
        """The process of a service as the machine sees it, so that a test can kill it; None while there is none."""
        inner, init = self.services().get(service, ServiceStatus()).pid, self.process
        if not inner or init is None:
            return None
        outer = next((pid for pid in processes.children(init.pid) if processes.inner_pid(pid) == inner), None)
        return None if outer is None else processes.identify(outer)

    # -- commands in it ------------------------------------------------------------------------------------------

    def command(self, argv: Sequence[str]) -> list[str]:
        """*argv* as a command for the machine that runs it in all of the sandbox's namespaces."""
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        return [*enter, "--", *argv]

    def run(
        self, argv: Sequence[str], *, check: bool = True, timeout: float = 30.0, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it and return what it printed; LabError when *check* and it fails."""
        result = subprocess.run(
            self.command(argv),
            capture_output=True,
            text=True,
            timeout=timeout,
            input=stdin,
            check=False,
            env=plans.base_environment(self.marker),
        )
        if check and result.returncode:
            raise LabError(f"{self.name}: {' '.join(argv)} exited {result.returncode}: {result.stderr.strip()[-1000:]}")
        return result

    def log_tail(self, service: str, lines: int = 12) -> str:
        """The last lines of a service's log; empty when there is none."""
        try:
            text = (self.logs / f"{self.name}-{service}.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


class Starting:
    """A sandbox on its way; its processes are born in its network namespace."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        command = [sys.executable, "-I", "-S", "-c", _BOOT, str(plans.source_directory()), str(sandbox.directory)]
        fd = netns.open_namespace(str(sandbox.netns_path))
        try:
            with netns.entered(fd):
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=plans.base_environment(sandbox.marker),
                    pass_fds=tuple(sandbox.plan().descriptors.values()),
                    start_new_session=True,
                    cwd="/",
                )
        finally:
            os.close(fd)

    def finish(self, timeout: float = 30.0) -> ProcessId:
        """The init's identity, recorded in the sandbox's directory; LabError with its words when it could not start."""
        name = self._sandbox.name
        try:
            out, err = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise LabError(f"{name}: its init did not come up in {timeout:g} s") from None
        if self._process.returncode != 0:
            raise LabError(f"{name} cannot be started: {err.decode(errors='replace').strip()[-2000:]}")
        identity = processes.identify(int(out))
        if identity is None:
            raise LabError(f"{name}: its init died at once", remedy=f"see {self._sandbox.logs}/{name}-init.log")
        self._sandbox.remember(identity)
        return identity
