"""The agent dies at any step of any verb, and starts again: nothing lost, nothing doubled, nothing leaked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from podwire.drivers.fake import FakeKernel
from podwire.drivers.fake_store import FakeStore
from podwire.model.attachment import Attachment
from podwire.model.errors import PodwireError
from tests.support.cni import FakeNode, add_request, del_request, fake_node

pytestmark = pytest.mark.faults


class Death(BaseException):
    """The process is killed here: no handler of ours may act on it, so every later step dies of it too."""


class Reaper:
    """Counts steps (each write and each kernel operation has one before and one after), and kills at the chosen one."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.steps = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps >= self.at:
            raise Death

    def around(self, work: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object) -> object:
            self.step()
            result = work(*args)
            self.step()
            return result

        return wrapped


def mortal(node: FakeNode, at: int) -> Reaper:
    reaper = Reaper(at)
    node.store.put = reaper.around(node.store.put)  # type: ignore[method-assign, assignment]
    node.store.remove = reaper.around(node.store.remove)  # type: ignore[method-assign, assignment]
    node.wirer.attach = reaper.around(node.wirer.attach)  # type: ignore[method-assign, assignment]
    node.wirer.detach = reaper.around(node.wirer.detach)  # type: ignore[method-assign, assignment]
    return reaper


class Told:
    """What the runtime has been told: pods that must be there, and pods that must not. All others may be either."""

    def __init__(self) -> None:
        self.there: dict[str, Attachment] = {}
        self.gone: set[str] = set()

    async def add(self, node: FakeNode, container: str, netns: int) -> None:
        self.there.pop(container, None)  # a repeated ADD may die between the old wiring and the new
        self.there[container] = await node.attachments.add(add_request(container, container), netns)

    async def delete(self, node: FakeNode, container: str) -> None:
        del self.there[container]
        await node.attachments.delete(del_request(container))
        self.gone.add(container)


async def life(node: FakeNode, told: Told) -> None:
    """Pods come and go."""
    await told.add(node, "c1", 1)
    await told.add(node, "c2", 2)
    await told.delete(node, "c1")
    await told.add(node, "c3", 3)
    await told.add(node, "c2", 4)  # its sandbox was made anew
    await told.delete(node, "c3")


async def steps_of_a_life() -> int:
    async with fake_node() as node:
        reaper = mortal(node, at=10_000)
        await life(node, Told())
        return reaper.steps


STEPS = 36


async def test_the_steps_of_a_life_are_all_tried() -> None:
    assert await steps_of_a_life() == STEPS


@pytest.mark.parametrize("at", range(1, STEPS + 1))
async def test_death_at_every_step(at: int) -> None:
    store, kernel, told = FakeStore(), FakeKernel(), Told()
    node = FakeNode(store=store, kernel=kernel)
    await node.attachments.recover()
    mortal(node, at)
    with pytest.raises(Death):
        await life(node, told)
    await node.attachments.close()

    again = FakeNode(store=revived(store), kernel=kernel)
    try:
        report = await again.attachments.recover()
        await again.settled()
        # Dead between wiring and store, a DEL leaves an attachment without a link: it is told, and the DEL comes again.
        vanished = {found.key.container_id for found in report.vanished}
        assert not vanished & told.there.keys() and len(vanished) <= 1
        assert report.complete and not report.disputed
        for container in vanished:
            await again.attachments.delete(del_request(container))
        await again.settled()
        assert again.problems() == []
        known = {key.container_id: found for key, found in again.attachments.snapshot().items()}
        assert {container: known.get(container) for container in told.there} == told.there
        assert not told.gone & known.keys()
        await ends_clean(again)
    finally:
        await again.attachments.close()


def revived(store: FakeStore) -> FakeStore:
    """What is on disk, in a new process."""
    fresh = FakeStore()
    fresh._attachments, fresh._cooling = store._attachments, store._cooling
    return fresh


async def ends_clean(node: FakeNode) -> None:
    """The runtime's next calls: whatever it was told, DEL of everything works, and all comes back."""
    for container in ("c1", "c2", "c3"):
        await node.attachments.delete(del_request(container))
    await node.settled()
    assert node.attachments.snapshot() == {} and node.problems() == []
    node.now += 100
    made = [await node.attachments.add(add_request(f"n{n}", f"new-{n}"), 100 + n) for n in range(5)]
    assert len({attachment.ips for attachment in made}) == 5
    assert node.problems() == []


@pytest.mark.parametrize("at", range(1, 5))
async def test_what_was_answered_survives_a_death_in_another_pods_add(at: int) -> None:
    store, kernel = FakeStore(), FakeKernel()
    node = FakeNode(store=store, kernel=kernel)
    await node.attachments.recover()
    answered = [await node.attachments.add(add_request(f"c{n}", f"web-{n}"), n) for n in range(3)]
    mortal(node, at)
    with pytest.raises(Death):
        await node.attachments.add(add_request("c9", "late"), 9)
    await node.attachments.close()
    async with fake_node(store=revived(store), kernel=kernel) as again:
        assert list(again.attachments.snapshot().values()) == answered
        await again.settled()
        assert again.problems() == []


async def test_a_store_out_of_space_for_a_while() -> None:
    """Every verb fails with an error while nothing can be written, and works again afterwards."""
    async with fake_node() as node:
        kept = await node.attachments.add(add_request("c1", "one"), 1)
        node.store.fail_at = set(range(node.store.writes + 1, node.store.writes + 100))
        for number in range(10):
            with pytest.raises(PodwireError):
                await node.attachments.add(add_request(f"x{number}", f"x{number}"), 50 + number)
        with pytest.raises(PodwireError):
            await node.attachments.delete(del_request("c1"))
        node.store.fail_at = set()
        assert node.attachments.snapshot() == {kept.key: kept}
        await node.attachments.delete(del_request("c1"))
        await node.settled()
        assert node.problems() == []
