"""Small pure parts of the drivers: nft's elements, pcap files, socket filters, kernel releases."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest

from podwire.drivers import bpf, pcap
from podwire.drivers.bpf import Step, assemble
from podwire.drivers.nftelements import named_elements, spelled, text
from podwire.drivers.offload import needs_software_checksums
from podwire.model.kernel import NftElement


@pytest.mark.parametrize(
    ("listed", "written"),
    [
        ("10.0.0.1", "10.0.0.1"),
        (8080, "8080"),
        ({"prefix": {"addr": "10.244.0.0", "len": 16}}, "10.244.0.0/16"),
        ({"range": ["10.7.0.3", "10.7.0.9"]}, "10.7.0.3-10.7.0.9"),
        ({"concat": ["10.0.0.1", "tcp", 80]}, "10.0.0.1 . tcp . 80"),
        ({"elem": {"val": {"prefix": {"addr": "fd00::", "len": 64}}, "counter": {"packets": 0}}}, "fd00::/64"),
    ],
)
def test_an_element_is_written_as_nft_writes_it(listed: Any, written: str) -> None:
    assert text(listed) == written


@pytest.mark.parametrize(
    ("planned", "listed"),
    [
        ("10.9.0.1/32", "10.9.0.1"),
        ("fd00:0::1/128", "fd00::1"),
        ("fd00:0:0::/64", "fd00::/64"),
        ("10.244.0.0/16", "10.244.0.0/16"),
        ("10.0.0.1 . tcp . 80", "10.0.0.1 . tcp . 80"),
        ("eth0", "eth0"),
    ],
)
def test_an_element_is_known_by_its_listed_spelling(planned: str, listed: str) -> None:
    assert spelled(planned) == listed


def test_elements_of_named_sets_alone_are_ours() -> None:
    listing: list[dict[str, Any]] = [
        {"table": {"family": "inet", "name": "podwire", "handle": 1}},
        {"set": {"name": "pod_cidrs4", "elem": [{"prefix": {"addr": "10.244.0.0", "len": 16}}, "10.9.0.1"]}},
        {"set": {"name": "empty"}},
        {"rule": {"chain": "x", "expr": [{"match": {"right": {"set": ["10.0.0.1"]}}}]}},
    ]
    assert list(named_elements(("inet", "podwire"), listing)) == [
        NftElement("inet", "podwire", "pod_cidrs4", "10.244.0.0/16"),
        NftElement("inet", "podwire", "pod_cidrs4", "10.9.0.1"),
    ]


def test_a_pcap_file_has_nanoseconds_and_true_lengths() -> None:
    stream = io.BytesIO()
    writer = pcap.PcapWriter(stream)
    writer.write(1_700_000_000_123_456_789, b"abcd", 1500)
    writer.write(5, b"x" * 70_000)
    data = stream.getvalue()
    assert struct.unpack_from("=I", data)[0] == 0xA1B23C4D
    assert pcap.FILE_HEADER.unpack_from(data)[5:] == (65535, 1)
    assert struct.unpack_from("=IIII4s", data, 24) == (1_700_000_000, 123_456_789, 4, 1500, b"abcd")
    assert struct.unpack_from("=IIII", data, 24 + 20) == (0, 5, 65535, 70_000)


def test_jumps_are_counted_from_the_next_instruction() -> None:
    program = assemble(
        [
            Step(0x28, 12),
            Step(0x15, 0x0800, "keep", "drop"),
            Step(0x05, then="keep"),
            Step(0x06, 0, label="drop"),
            Step(0x06, 99, label="keep"),
        ]
    )
    assert [struct.unpack_from("=HBBI", program, place * 8) for place in range(5)] == [
        (0x28, 0, 0, 12),
        (0x15, 2, 1, 0x0800),
        (0x05, 0, 0, 1),
        (0x06, 0, 0, 0),
        (0x06, 0, 0, 99),
    ]


def test_a_jump_that_is_too_far_is_refused() -> None:
    far = [Step(0x15, 1, "end"), *[Step(0x28, 0)] * 256, Step(0x06, 0, label="end")]
    with pytest.raises(ValueError, match="socket filter"):
        assemble(far)
    assert assemble([*far[:-2], far[-1]])
    assert len(bpf.without_host_ends()) % 8 == 0


@pytest.mark.parametrize(
    ("release", "needed"),
    [
        ("4.19.0-25-amd64", True),
        ("5.6.19", True),
        ("5.7.0", False),
        ("5.10.0-28-cloud-amd64", False),
        ("6.18.44-fc", False),
        ("strange", False),
    ],
)
def test_the_kernels_that_need_software_checksums(release: str, needed: bool) -> None:
    assert needs_software_checksums(release) is needed
