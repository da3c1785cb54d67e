"""Deferred DELs: carried out in order, kept while they fail, moved aside when they never can succeed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from podwire.cni import codes
from podwire.cni.protocol import RawRequest, encode_request
from podwire.cni.spool import Spool, SpoolReport
from podwire.cni.verbs import Answer
from tests.support.cni import add_request, environment, fake_node, netconf


def frame(container: str = "c1", command: str = "DEL") -> bytes:
    return encode_request(RawRequest(environment(command, container), netconf()))


class Served:
    """Answers with the codes given, then with success, and remembers what it was asked."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, float]] = []

    async def __call__(self, raw: RawRequest, asked_at: float) -> Answer:
        self.asked.append((raw.env["CNI_CONTAINERID"], asked_at))
        return Answer(self.answers.pop(0) if self.answers else 0)


async def test_no_directory_is_nothing_to_do(tmp_path: Path) -> None:
    assert await Spool(str(tmp_path / "none"), Served()).drain() == SpoolReport()


async def test_oldest_first_and_then_gone(tmp_path: Path) -> None:
    for number, container in enumerate(["late", "early"]):
        path = tmp_path / f"{2 - number:010}.000000000-1.del"
        path.write_bytes(frame(container))
        os.utime(path, (2 - number, 2 - number))
    served = Served()
    assert await Spool(str(tmp_path), served).drain() == SpoolReport(done=2)
    assert served.asked == [("early", 1.0), ("late", 2.0)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [codes.TRY_AGAIN_LATER, codes.KERNEL_REFUSED, codes.IO_FAILURE, codes.INTERNAL])
async def test_what_fails_for_now_stays(tmp_path: Path, code: int) -> None:
    (tmp_path / "1.del").write_bytes(frame())
    spool = Spool(str(tmp_path), Served(code))
    assert await spool.drain() == SpoolReport(waiting=1)
    assert await spool.drain() == SpoolReport(done=1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PWC1",
        b"garbage" * 10,
        frame()[:-1],
        frame() + b"x",
        frame(command="ADD"),
        b"PWC1" + b"\xff" * 8,
    ],
)
async def test_damage_is_moved_aside_and_the_rest_goes_on(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.del").write_bytes(content)
    (tmp_path / "2.del").write_bytes(frame("fine"))
    served = Served()
    report = await Spool(str(tmp_path), served).drain()
    assert report == SpoolReport(done=1, damaged=(str(tmp_path / "damaged" / "1.del"),))
    assert [container for container, _ in served.asked] == ["fine"]
    assert (tmp_path / "damaged" / "1.del").read_bytes() == content


async def test_what_can_never_succeed_is_moved_aside(tmp_path: Path) -> None:
    (tmp_path / "1.del").write_bytes(frame())
    report = await Spool(str(tmp_path), Served(codes.INVALID_CONFIG)).drain()
    assert len(report.damaged) == 1 and (await Spool(str(tmp_path), Served()).drain()) == SpoolReport()


async def test_links_and_other_strange_files_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(frame())
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "1.del").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "2.del")
    served = Served()
    report = await Spool(str(folder), served).drain()
    assert len(report.damaged) == 2 and served.asked == []


async def test_a_file_in_the_making_is_left_until_it_is_clearly_abandoned(tmp_path: Path) -> None:
    (tmp_path / ".1.del").write_bytes(b"PW")
    os.utime(tmp_path / ".1.del", (1000, 1000))
    await Spool(str(tmp_path), Served(), clock=lambda: 1500.0).drain()
    assert (tmp_path / ".1.del").exists()
    await Spool(str(tmp_path), Served(), clock=lambda: 1601.0).drain()
    assert not (tmp_path / ".1.del").exists()


async def test_the_damaged_do_not_pile_up(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}.del").write_bytes(b"x")
    await Spool(str(tmp_path), Served()).drain()
    assert [path.name for path in sorted((tmp_path / "damaged").iterdir())] == [f"{n:02}.del" for n in range(10, 30)]


async def test_with_the_verbs_a_deferred_del_removes_what_stood_then(tmp_path: Path) -> None:
    async with fake_node() as node:
        await node.attachments.add(add_request("c1", "old"), 1)
        (tmp_path / "1.del").write_bytes(frame("c1"))
        os.utime(tmp_path / "1.del", (node.now + 5, node.now + 5))
        node.now += 10
        later = await node.attachments.add(add_request("c2", "new"), 2)
        (tmp_path / "2.del").write_bytes(frame("c2"))
        os.utime(tmp_path / "2.del", (node.now - 5, node.now - 5))
        spool = Spool(str(tmp_path), lambda raw, asked_at: node.verbs.serve(raw, None, asked_at=asked_at))
        assert await spool.drain() == SpoolReport(done=2)
        assert node.attachments.snapshot() == {later.key: later}
