"""What ``./test`` runs: all in CI size, or with ``--full`` the counts that the issues name, in resumable parts.

Nothing may be left behind: what stands on the machine (network namespaces, links, nft tables, mounts, processes of
ours) is noted before and compared after, and a leftover is a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
RESULTS = ROOT / "docs" / "results"
STATE = ROOT / ".pytest_cache" / "podwire-full.json"
LEAD_TIME = 5.0
"""Seconds that the kernel and dying processes get to finish before a leftover counts."""

PARTS = ("unit", "property", "drivers", "faults", "e2e", "lab")
SERIAL = ("lab", "e2e", "faults")
"""Parts that bring up whole clusters or starve what they test; the rest runs on every core at once."""


def main() -> int:
    """Parse the arguments, run, and return the exit status."""
    parser = argparse.ArgumentParser(prog="./test", description=__doc__.split("\n\n")[0])
    parser.add_argument("--full", action="store_true", help="the full counts, part by part; passed parts are skipped")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part (may be repeated)")
    parser.add_argument("--restart", action="store_true", help="with --full: run passed parts again")
    parser.add_argument("--lint", action="store_true", help="only the checks of the source, no test")
    parser.add_argument("--lock", action="store_true", help="write the lock files anew from requirements/*.in")
    parser.add_argument("pytest", nargs="*", help="given to pytest as they are, instead of all tests (after --)")
    args = parser.parse_args()
    if args.lock:
        return lock()
    lint_failed = lint() if not args.pytest or args.lint else False
    if args.lint:
        return int(lint_failed)
    before = standing()
    if args.full:
        failed = run_full(args.part or list(PARTS), restart=args.restart)
    elif args.pytest:
        failed = bool(pytest(args.pytest))
    else:
        failed = run_ci(args.part or list(PARTS))
    leftovers = left_behind(before)
    for line in leftovers:
        print(f"left behind: {line}", file=sys.stderr)
    if lint_failed:
        print("the checks of the source failed (above)", file=sys.stderr)
    return int(failed or lint_failed or bool(leftovers))


def lint() -> bool:
    """Formatting, style, types and layers; whether any failed."""
    failed = False
    for command in (
        ["ruff", "format", "--check", "-q", "."],
        ["ruff", "check", "-q", "."],
        ["lint-imports", "--no-cache"],
        ["mypy"],
    ):
        result = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        print(f"{'failed' if result.returncode else 'ok':7} {' '.join(command)}", flush=True)
        if result.returncode:
            failed = True
            print(result.stdout, result.stderr, flush=True)
    return failed


def run_ci(parts: list[str]) -> bool:
    """The CI size: quick parts on all cores, then the serial ones, one closing line for all of them at the end."""
    totals: dict[str, int] = {}
    failed = False
    for serial in (False, True):
        chosen = [f"tests/{part}" for part in parts if (part in SERIAL) == serial and (ROOT / "tests" / part).is_dir()]
        if not chosen:
            continue
        workers = [] if serial else ["-n", str(os.cpu_count() or 2), "--dist", "loadfile"]
        status, counts = pytest_counted([*workers, *chosen])
        failed |= status not in (0, 5)
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
    print(closing_line(totals), flush=True)
    return failed or not totals.get("passed")


def run_full(parts: list[str], *, restart: bool) -> bool:
    """Each part in turn with PODWIRE_TEST_FULL=1, remembered per commit; results in docs/results/."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    done = {} if restart or not STATE.exists() else json.loads(STATE.read_text())
    totals: dict[str, int] = {}
    failed = False
    for part in parts:
        if done.get(part, {}).get("commit") == commit and done[part]["failed"] == 0:
            print(f"{part}: passed already at this commit ({done[part]['passed']} tests); --restart runs it again")
            continue
        began = time.monotonic()
        status, counts = pytest_counted([f"tests/{part}"], full=True)
        failed |= status not in (0, 5)
        done[part] = {"commit": commit, "passed": counts.get("passed", 0), "failed": int(status not in (0, 5))}
        STATE.parent.mkdir(exist_ok=True)
        STATE.write_text(json.dumps(done))
        RESULTS.mkdir(parents=True, exist_ok=True)
        summary = {**counts, "seconds": round(time.monotonic() - began), "kernel": os.uname().release, "exit": status}
        (RESULTS / f"full-{part}.json").write_text(json.dumps(summary, indent=2) + "\n")
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
    print(closing_line(totals), flush=True)
    return failed


def pytest(arguments: list[str], *, full: bool = False) -> int:
    """Run pytest with *arguments*; its exit status."""
    return pytest_counted(arguments, full=full)[0]


def pytest_counted(arguments: list[str], *, full: bool = False) -> tuple[int, dict[str, int]]:
    """Run pytest, show what it prints as it comes, and count by the closing line: {"passed": 12, "skipped": 1}."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if full:
        environment["PODWIRE_TEST_FULL"] = "1"
        arguments = ["--timeout=7200", *arguments]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        if re.search(r"\d+ (passed|failed|skipped|error)", line):
            last = line
    counts = {
        name.rstrip("s") if name.startswith("error") else name: int(number)
        for number, name in re.findall(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed)", last)
    }
    return process.wait(), counts


def closing_line(totals: dict[str, int]) -> str:
    """The sum of all parts in pytest's own words."""
    failed = totals.get("failed", 0) + totals.get("error", 0)
    line = f"{totals.get('passed', 0)} passed, {failed} failed"
    return line + (f", {totals['skipped']} skipped" if totals.get("skipped") else "")


def lock() -> int:
    """Resolve requirements/*.in anew, with hashes."""
    for name in ("podwire", "dev"):
        subprocess.run(
            [
                BIN / "uv",
                "pip",
                "compile",
                "-q",
                "--upgrade",
                "--universal",
                "--python-version",
                "3.11",
                "--generate-hashes",
                "--no-annotate",
                "--custom-compile-command",
                "./test --lock",
                f"{name}.in",
                "-o",
                f"{name}.lock",
            ],
            cwd=ROOT / "requirements",
            check=True,
        )
    return 0


def standing() -> set[str]:
    """What of ours could stand on the machine: one line per namespace, link, table, mount and process."""
    found: set[str] = set()
    for command, pattern in (
        (["ip", "netns", "list"], r"^\S+"),
        (["ip", "-o", "link"], r"^\d+: (?:pw|cni|veth)[^:@]*"),
        (["nft", "list", "tables"], r"^table .*podwire.*"),
    ):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        found |= {f"{' '.join(command)}: {match}" for match in re.findall(pattern, result.stdout, re.MULTILINE)}
    mounts = Path("/proc/self/mounts").read_text()
    found |= {
        f"mount {line.split()[1]}"
        for line in mounts.splitlines()
        if re.search(r"podwire|/run/netns|cni-", line.split()[1])
    }
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command_line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            if re.search(r"-m podwire\.|/opt/cni/bin/podwire|podwire (agent|controller)|containerd|pw-", command_line):
                found.add(f"process {entry.name}: {command_line[:120]}")
    return found


def left_behind(before: set[str]) -> list[str]:
    """What stands now and did not before, after a little patience."""
    deadline = time.monotonic() + LEAD_TIME
    while True:
        left = sorted(standing() - before)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.25)


if __name__ == "__main__":
    sys.exit(main())
