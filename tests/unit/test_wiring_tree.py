"""The wiring tree of observations that no test machine would show: hundreds of peers, foreign rules, half a pod."""

from __future__ import annotations

import json

import msgspec
import pytest

from podwire.model.errors import InputError
from podwire.verify import observe_nft, wiring_tree
from podwire.verify.observation import (
    Counters,
    SeenAttachment,
    SeenFdb,
    SeenLink,
    SeenNamespace,
    SeenNeighbour,
    SeenNode,
    SeenRoute,
    SeenRule,
    SeenSet,
    SeenVxlan,
)
from podwire.verify.wiring.tree import Branch, count, render, size

ATTACHMENT = SeenAttachment(
    "web/a", "podwire", "c", "eth0", "pwa", "/run/netns/x", ("10.244.1.5/32", "fd00::5/128"), 1450
)


def node(peers: int = 1, **more: object) -> SeenNode:
    links = (
        SeenLink(2, "eth0", "veth", "02:00:00:00:00:01", 1500, True),
        SeenLink(
            3, "pwvxlan", "vxlan", "02:00:00:00:00:02", 1450, True, vxlan=SeenVxlan(4096, 4789, "10.0.0.1", "eth0")
        ),
    )
    numbers = range(2, peers + 2)
    vteps = {n: f"10.{n // 256}.{n % 256}.0" for n in numbers}
    network = SeenNamespace(
        1,
        links=links,
        routes=tuple(SeenRoute(f"{vteps[n]}/24", "pwvxlan", vteps[n], protocol=112) for n in numbers),
        neighbours=tuple(SeenNeighbour("pwvxlan", vteps[n], f"02:{n:08x}", "permanent") for n in numbers),
        fdb=tuple(SeenFdb("pwvxlan", f"02:{n:08x}", f"10.0.{n // 256}.{n % 256}") for n in numbers),
    )  # fmt: skip
    return SeenNode("n1", network, **more)  # type: ignore[arg-type]


def test_many_peers_are_cut_short_unless_all_are_asked_for() -> None:
    short = render(wiring_tree.node_tree(node(300)))
    assert len(short.splitlines()) < 40 and "… and 293 more  -v shows them" in short
    assert len(render(wiring_tree.node_tree(node(300), verbose=True)).splitlines()) > 600


def test_an_observation_survives_its_journey_as_json() -> None:
    seen = node(3, attachments=(ATTACHMENT,))
    assert wiring_tree.read(json.loads(json.dumps(msgspec.to_builtins(seen)))) == seen


def test_an_observation_of_another_form_is_refused_with_a_remedy() -> None:
    with pytest.raises(InputError, match="is the agent as old as this podwire"):
        wiring_tree.read({"node": 7})


def test_an_unknown_pod_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(InputError, match=r"web/b.*has no attachment on n1; this node has web/a"):
        wiring_tree.pod_tree(node(attachments=(ATTACHMENT,)), "web/b")


def test_a_pod_of_which_nothing_is_left_is_drawn_with_what_is_missing() -> None:
    gone = msgspec.structs.replace(ATTACHMENT, problem="the namespace is gone")
    text = render(wiring_tree.pod_tree(node(attachments=(gone,)), "web/a"))
    assert "✗ the namespace is gone" in text and "pwa  host end on n1  ✗ it is gone" in text


@pytest.mark.parametrize(
    ("names", "touches"),
    [
        (("10.244.1.5",), True),
        (("10.244.0.0/16",), True),
        (("10.244.1.1-10.244.1.9",), True),
        (("10.244.1.6-10.244.1.9",), False),
        (("fd00::/64",), True),
        (("10.9.0.0/16", "accept"), False),
        (("pwa",), True),
        (("pw*",), False),
        (("@pods",), True),
        (("@others",), False),
        (("@nowhere",), False),
        ((), False),
    ],
)
def test_rules_touch_a_pod_by_address_network_range_set_or_device(names: tuple[str, ...], touches: bool) -> None:
    rule = SeenRule("inet podwire", "post", 4, "a rule", names)
    sets = (
        SeenSet("inet podwire", "pods", ("10.9.9.9", "10.244.0.0/16")),
        SeenSet("inet podwire", "others", ("10.9.9.9", "tcp . 80")),
        SeenSet("inet other", "nowhere", ("10.244.1.5",)),
    )
    assert bool(wiring_tree.touching(node(rules=(rule,), sets=sets), ATTACHMENT)) is touches


LISTING = """table inet podwire { # handle 3
\tset pods { # handle 1
\t\ttype ipv4_addr
\t\telements = { 10.244.0.0/16 }
\t}

\tchain post { # handle 2
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\tip saddr @pods counter packets 5 bytes 420 masquerade # handle 7
\t\toifname vmap { "lo" : accept } # handle 9
\t}
}
table ip other { # handle 4
\tchain post { # handle 1
\t\tip daddr 1.2.3.4 drop # handle 7
\t}
}
"""


def test_each_rules_text_is_found_by_table_chain_and_handle() -> None:
    assert observe_nft.texts_by_handle(LISTING) == {
        ("inet podwire", "post", 7): "ip saddr @pods counter packets 5 bytes 420 masquerade",
        ("inet podwire", "post", 9): 'oifname vmap { "lo" : accept }',
        ("ip other", "post", 7): "ip daddr 1.2.3.4 drop",
    }


def test_the_drawing_has_one_line_a_branch() -> None:
    tree = Branch("a", "note", (Branch("b", children=(Branch("c"),)), Branch("d", wrong="bad")))
    assert render(tree) == "a  note\n├─ b\n│  └─ c\n└─ d  ✗ bad"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (20 * 1024**2, "20 MiB"), (5000 * 1024**3, "5000 GiB")],
)
def test_sizes_are_short(number: int, text: str) -> None:
    assert size(number) == text
    assert (count(9999), count(10_000), count(12_000_000)) == ("9999", "10k", "12M")
    assert Counters() == Counters(0)
