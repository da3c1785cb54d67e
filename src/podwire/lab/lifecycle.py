"""A lab's beginning and end.

``up`` makes everything or leaves nothing; ``down`` takes away whatever it finds, from whichever state: after kill -9 of
everything, after half an ``up``, after a reboot of the machine, twice in a row.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import msgspec

from podwire.drivers import netns
from podwire.lab import processes
from podwire.lab import spec as places
from podwire.lab.cluster import Lab, Node
from podwire.lab.fabric_plan import CONTROL, WORLD
from podwire.lab.processes import ProcessId
from podwire.lab.programs import HostPlan, Programs
from podwire.lab.sandbox import syscalls
from podwire.lab.sandbox.host import Sandbox
from podwire.lab.spec import API_PORT, LabSpec, NodeRecord
from podwire.lab.state import LabDirectory, Record
from podwire.model.errors import LabError

STOP_GRACE = 3.0
"""Seconds that an init gets to stop its services before it is killed and takes them along."""

READY_TIMEOUT, READY_TIMEOUT_PER_NODE = 60.0, 3.0
"""Seconds: a node's programs take about a second of CPU to start, and many nodes share few CPUs."""

Say = Callable[[str], None]


def up(spec: LabSpec, programs: Programs, say: Say = lambda _: None, *, wait: bool = True) -> Lab:
    """Make a lab and return once all its nodes are Ready (at once when not *wait*).

    Raises InputError for an impossible *spec*, LabError when the lab exists or something in it does not come up. A
    failure or an interruption takes down again what was made.
    """
    places.check(spec)
    programs.check(spec)
    directory = LabDirectory(spec.name)
    directory.create()
    try:
        with directory.locked():
            lab = _make(directory, spec, programs, say)
            if wait:
                _wait(lab, programs, say)
            directory.write(msgspec.structs.replace(lab.record, phase="up"))
    except BaseException:
        say("taking it down again")
        down(spec.name)
        raise
    return Lab.load(spec.name)


def _make(directory: LabDirectory, spec: LabSpec, programs: Programs, say: Say) -> Lab:
    nodes = tuple(NodeRecord(f"node{index}", index) for index in range(1, spec.nodes + 1))
    record = Record(spec=spec, boot=processes.boot_id(), nodes=nodes)
    directory.write(record)
    lab = Lab(directory, record)
    segments = "one subnet" if spec.subnets == 1 else f"{spec.subnets} subnets and a router"
    say(f"fabric: {segments}, {len(nodes)} nodes, MTU {spec.mtu}")
    lab.fabric.build(nodes)
    with _api_sockets(lab) as sockets:
        port = next(iter(sockets.values())).getsockname()[1]
        record = msgspec.structs.replace(record, api_port=port)
        directory.write(record)
        lab = Lab(directory, record)
        say("certificates and tokens")
        programs.prepare(lab)
        say(f"control plane: https://127.0.0.1:{port}")
        start_control(lab, programs, sockets)
    world = lab.world
    prepare_host(lab, world, programs.world(lab))
    for node in lab.nodes:
        prepare_host(lab, node, programs.node(lab, node.record))
    starting = [host.start() for host in [world, *lab.nodes]]
    for one in starting:
        one.finish()
    return lab


def _wait(lab: Lab, programs: Programs, say: Say) -> None:
    programs.wait_control(lab, READY_TIMEOUT)
    if lab.nodes:
        say("nodes: waiting until all are Ready")
        patience = READY_TIMEOUT + READY_TIMEOUT_PER_NODE * len(lab.nodes)
        programs.wait_nodes(lab, [node.name for node in lab.nodes], patience)


@contextmanager
def _api_sockets(lab: Lab) -> Iterator[dict[str, socket.socket]]:
    """Listening sockets for the API server: one on the machine's loopback, one for each of its fabric addresses.

    A socket belongs for life to the namespace that it was made in, whoever holds it: so the API server, on the fabric,
    can be reached by kubectl on the machine, and the machine gets no other way into the fabric.
    """
    with ExitStack() as stack:
        sockets = {"loopback": stack.enter_context(_listen("127.0.0.1", lab.record.api_port))}
        fd = netns.open_namespace(str(lab.directory.namespaces / CONTROL))
        stack.enter_context(_closing(fd))
        with netns.entered(fd):
            for address in places.control_addresses(lab.spec):
                sockets[f"fabric{address.version}"] = stack.enter_context(_listen(str(address), API_PORT))
        yield sockets


@contextmanager
def _closing(fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        socket.close(fd)


def _listen(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(256)
    except OSError:
        made.close()
        raise
    return made


def start_control(lab: Lab, programs: Programs, sockets: dict[str, socket.socket] | None = None) -> None:
    """Start the control plane's host, with the sockets made for it (or the same ones made anew, after its death)."""
    if sockets is None:
        with _api_sockets(lab) as made:
            start_control(lab, programs, made)
        return
    plan = programs.control(lab, tuple(sockets))
    control = lab.control
    prepare_host(lab, control, plan, {name: one.fileno() for name, one in sockets.items()})
    control.start().finish()


def prepare_host(lab: Lab, host: Sandbox, plan: HostPlan, descriptors: dict[str, int] | None = None) -> None:
    """Write down what a host runs, ready to be started."""
    hosts = {str(address): CONTROL for address in places.control_addresses(lab.spec)}
    hosts |= {str(iface.ip): WORLD for iface in places.world_interfaces(lab.spec)}
    if isinstance(host, Node):
        hosts |= {str(address): host.name for address in host.addresses}
    host.prepare(
        plan.services,
        hide=lab.directory.parent,
        binds=plan.binds,
        descriptors=descriptors,
        hosts=hosts,
        files=plan.files,
    )


def down(name: str, say: Say = lambda _: None) -> bool:
    """End a lab whatever its state; whether there was anything to end. LabError when a process cannot be killed."""
    directory = LabDirectory(places.check_name(name))
    stray = processes.members(directory.marker)
    if not directory.path.is_dir() and not stray:
        return False
    inits = _recorded(directory)
    say(f"stopping {len(inits)} hosts")
    processes.stop(inits, STOP_GRACE)
    # What has no record (everything was killed half-way) is known by its environment. A parent may have made another
    # child while we looked, so look until nobody is left.
    for _ in range(10):
        stray = processes.members(directory.marker)
        if not stray:
            break
        processes.stop(stray, 0.2)
    else:
        pids = ", ".join(str(one.pid) for one in stray)
        raise LabError(f"processes of the lab {name!r} do not die: {pids}", remedy="look at them, then try again")
    say("removing namespaces and state")
    syscalls.unmount_below(str(directory.path))
    shutil.rmtree(directory.path, onerror=_unless_gone)
    try:
        directory.parent.rmdir()
    except OSError:  # another lab lives there, or somebody's files
        pass
    return True


def _unless_gone(_function: object, _path: str, info: tuple[type[BaseException], BaseException, object]) -> None:
    """Another ``down`` may be at work: what is gone is gone."""
    if not isinstance(info[1], FileNotFoundError):
        raise info[1]


def _recorded(directory: LabDirectory) -> list[ProcessId]:
    found = []
    for kind in ("nodes", "hosts"):
        base = directory.path / kind
        for entry in sorted(base.iterdir()) if base.is_dir() else ():
            host = Sandbox(entry.name, entry, directory.namespaces / entry.name, directory.logs, directory.marker)
            if (process := host.process) is not None:
                found.append(process)
    return found
