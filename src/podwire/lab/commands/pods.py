"""``lab exec`` and ``lab logs``."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import click

from podwire.cluster import exec as execs
from podwire.cluster.client import Client
from podwire.cluster.resources import PODS
from podwire.lab.cluster import Lab
from podwire.lab.commands.common import ask_api, name_option

_namespace = click.option("-n", "--namespace", default="default", show_default=True, help="Namespace.")
_container = click.option("-c", "--container", default="", help="Container; default: the pod's first.")


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("pod")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_namespace
@_container
@click.option("-i", "--stdin", "with_stdin", is_flag=True, help="Pass stdin to the command.")
@click.option("-t", "--tty", "with_tty", is_flag=True, help="Give the command a terminal.")
@name_option
def exec_command(
    pod: str, command: tuple[str, ...], namespace: str, container: str, with_stdin: bool, with_tty: bool, name: str
) -> int:
    """Run a command in a pod: podwire lab exec web -- ip address. The exit code is the command's."""
    lab = Lab.load(name)
    terminal = with_tty and sys.stdin.isatty()
    if with_tty and not terminal:
        click.echo("stdin is no terminal: going on without one", err=True)

    async def work(client: Client) -> int:
        target = pod.removeprefix("pod/")
        await client.get(PODS, target, namespace)  # a refused upgrade tells less than a refused read
        session = execs.Exec(
            client,
            namespace,
            target,
            command,
            container=container,
            stdin=with_stdin,
            tty=terminal,
        )
        async with session:
            with _raw_terminal(terminal):
                return await _converse(session, with_stdin=with_stdin, terminal=terminal)

    return ask_api(lab, work)


async def _converse(session: execs.Exec, *, with_stdin: bool, terminal: bool) -> int:
    """Carry bytes both ways until the command ends; its exit code."""
    loop = asyncio.get_running_loop()
    tasks = []
    if with_stdin:
        queue: asyncio.Queue[bytes] = asyncio.Queue(16)
        threading.Thread(target=_read_stdin, args=(loop, queue), daemon=True).start()
        tasks.append(loop.create_task(_feed(session, queue)))
    if terminal:
        resize = asyncio.Event()
        resize.set()
        loop.add_signal_handler(signal.SIGWINCH, resize.set)
        tasks.append(loop.create_task(_follow_size(session, resize)))
    try:
        async for channel, data in session.output():
            out = sys.stderr.buffer if channel == execs.STDERR else sys.stdout.buffer
            out.write(data)
            out.flush()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return session.exit_code


def _read_stdin(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[bytes]) -> None:
    """In a thread of its own, since a file or /dev/null on stdin cannot be polled. The queue's bound slows it down."""
    while True:
        data = os.read(0, 32768)
        try:
            asyncio.run_coroutine_threadsafe(queue.put(data), loop).result()
        except (RuntimeError, asyncio.CancelledError):  # the command ended first
            return
        if not data:
            return


async def _feed(session: execs.Exec, queue: asyncio.Queue[bytes]) -> None:
    while data := await queue.get():
        await session.write(data)
    await session.close_stdin()


async def _follow_size(session: execs.Exec, changed: asyncio.Event) -> None:
    while True:
        await changed.wait()
        changed.clear()
        size = shutil.get_terminal_size()
        await session.resize(size.columns, size.lines)


@contextmanager
def _raw_terminal(wanted: bool) -> Iterator[None]:
    """Keys go to the command as they are pressed, Ctrl-C included; the terminal is restored whatever happens."""
    if not wanted:
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@click.command("logs")
@click.argument("pod")
@_namespace
@_container
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("-p", "--previous", is_flag=True, help="Of the container's previous run.")
@click.option("--tail", type=int, default=None, help="Only the last lines.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@name_option
def logs_command(
    pod: str,
    namespace: str,
    container: str,
    follow: bool,
    previous: bool,
    tail: int | None,
    timestamps: bool,
    name: str,
) -> None:
    """Print what a container printed."""
    params = {"tailLines": str(tail)} if tail is not None else {}
    params |= {key: "true" for key, wanted in (("previous", previous), ("timestamps", timestamps)) if wanted}

    async def work(client: Client) -> None:
        pieces = execs.logs(
            client, namespace, pod.removeprefix("pod/"), container=container, follow=follow, params=params
        )
        async for piece in pieces:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()

    ask_api(Lab.load(name), work)
