"""What the commands share: the lab's name, progress lines, the way to the lab's API server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeVar

import click
import msgspec
import yaml

from podwire.cluster.client import Client
from podwire.cluster.kubeconfig import from_file
from podwire.lab.cluster import Lab
from podwire.lab.spec import DEFAULT_NAME
from podwire.model.errors import LabError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def name_option(command: F) -> F:
    """``--name NAME``: which lab."""
    return click.option(
        "--name",
        default=DEFAULT_NAME,
        show_default=True,
        envvar="PODWIRE_LAB_NAME",
        metavar="LAB",
        help="The lab's name.",
    )(command)


def output_option(*formats: str) -> Callable[[F], F]:
    """``-o FORMAT``."""

    def decorate(command: F) -> F:
        return click.option("-o", "--output", type=click.Choice(formats), default=None, help="Output format.")(command)

    return decorate


def need_root() -> None:
    """LabError unless root: namespaces need it."""
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces, which needs root", remedy="run it as root, or with sudo")


def coloured() -> bool:
    """Whether stderr is a terminal that wants colour (https://no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    """A progress line, on stderr so that stdout stays clean for results."""
    mark = click.style("·", fg="cyan") if coloured() else "·"
    click.echo(f"{mark} {text}", err=True, color=coloured())


def headline(text: str) -> None:
    """A line that matters more."""
    click.echo(click.style(text, bold=True) if coloured() else text, err=True, color=coloured())


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that what it began is undone."""

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ask_api(lab: Lab, work: Callable[[Client], Awaitable[T]]) -> T:
    """Run *work* with a client of the lab's API server, as admin."""

    async def main() -> T:
        async with Client(from_file(lab.kubeconfig)) as client:
            return await work(client)

    return asyncio.run(main())


def show(value: object, output: str | None) -> None:
    """Print *value* as JSON or YAML."""
    plain = msgspec.to_builtins(value)
    if output == "yaml":
        click.echo(yaml.safe_dump(plain, sort_keys=False), nl=False)
    else:
        click.echo(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as kubectl prints them: padded, three blanks apart, no rules."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows])
    return "\n".join(line.rstrip() for line in lines)
