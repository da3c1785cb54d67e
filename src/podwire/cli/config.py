"""``podwire config default|explain|validate``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from podwire.model import config as model


@click.group()
def config() -> None:
    """Print, explain or validate the configuration."""


@config.command()
def default() -> None:
    """Print the default configuration, a file to start from."""
    click.echo(model.default_yaml(), nl=False)


@config.command()
@click.argument("field", required=False)
def explain(field: str | None) -> int:
    """Explain every field, or those below FIELD (such as backend.vxlan)."""
    rows = [row for row in model.explain() if field is None or row[0] == field or row[0].startswith(f"{field}.")]
    if not rows:
        click.echo(f"no field {field}; `podwire config explain` lists all", err=True)
        return 1
    for path, kind, preset, description in rows:
        click.secho(path, bold=True, nl=False)
        click.echo(f"  <{kind}>" + (f"  default {preset}" if kind != "object" and preset else ""))
        click.echo(f"    {description}")
    return 0


@config.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
def validate(file: str) -> None:
    """Check FILE (- for standard input); exit status 2 and the field's name if it is wrong."""
    text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    model.parse(text, file)
    click.echo(f"{file}: valid")
