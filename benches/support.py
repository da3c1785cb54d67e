"""What the benches share: compiling, printing, measuring memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def compile_c(source: Path, target: Path, *, static: bool = False) -> None:
    """Compile one C file with optimisation."""
    compiler = ["musl-gcc", "-static"] if static else ["gcc"]
    includes = ["-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"] if static else []
    subprocess.run([*compiler, "-O2", *includes, "-o", str(target), str(source)], check=True)


def progress(text: str) -> None:
    """One line on a terminal, overwritten by the next; nothing elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print as GitHub's Markdown, which people can read as well."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    print(f"\n{title}\n")
    for number, row in enumerate([header, *rows]):
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("| " + " | ".join(cells) + " |")
        if number == 0:
            print(
                "|"
                + "|".join("-" * (width + 1) + ("-" if column == 0 else ":") for column, width in enumerate(widths))
                + "|"
            )


def resident_mib(pid: int) -> float:
    """Resident memory of *pid*, or, if it is a wrapper such as nsenter, of its only child; MiB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    statm = Path(f"/proc/{children[0] if children else pid}/statm").read_text()
    return int(statm.split()[1]) * 4096 / 2**20
