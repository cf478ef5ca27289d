"""What the webhook missed is read from Umnico's inbox, once; what it brought is left alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ingress.channels.umnico import reconcile
from ingress.channels.umnico.reconcile import InboxUnreadable, Reconciler
from ingress.channels.umnico.routes import Intake
from ragline.channels import UmnicoAccount
from ragline.clock import utcnow
from tests.ingress.umnico.world import BOT, SECRET, World, world
from tests.support import faults
from tests.support.fake_umnico import FakeUmnico


@pytest.fixture
def umnico() -> Iterator[FakeUmnico]:
    with FakeUmnico(seed=2) as server:
        yield server


@pytest.fixture
def here(tmp_path: Path, umnico: FakeUmnico, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(reconcile, "PACE", 0.0)
    with world(tmp_path, UMNICO_API_BASE=umnico.api_url, UMNICO_API_TOKEN=umnico.token) as found:
        yield found


def reader(here: World, *, grace: float = 0) -> Reconciler:
    account = here.inlet.settings.accounts("umnico", UmnicoAccount)["default"]
    intake = Intake("default", account, here.inlet)
    return Reconciler("default", account, here.inlet, intake, grace=timedelta(seconds=grace))


def read(here: World, reconciler: Reconciler) -> int:
    return here.run(reconciler.reconcile())


def test_what_was_missed_is_accepted_once_in_its_own_conversation(here: World, umnico: FakeUmnico) -> None:
    for lead in range(100, 104):
        for number in range(3):
            event = umnico.customer_writes(lead, f"{lead}/{number}", sa=5 + lead % 2, source=str(lead // 2 * 7))
            if number == 1:  # the only one that the webhook brought
                here.post(content=json.dumps(event).encode())
    assert len(here.messages()) == 4
    reconciler = reader(here)
    assert read(here, reconciler) == 8
    assert read(here, reconciler) == 0
    assert read(here, reader(here)) == 0, "nor after a restart"
    texts = {f"{lead}/{number}" for lead in range(100, 104) for number in range(3)}
    stored = here.messages()
    assert {message.text for message in stored} == texts
    keys = {message.text.partition("/")[0]: here.conversation(message).key for message in stored}
    assert keys == {str(lead): f"1:{5 + lead % 2}:{lead // 2 * 7}" for lead in range(100, 104)}
    assert here.quarantine() == []


def test_the_webhooks_copy_of_what_was_read_changes_nothing(here: World, umnico: FakeUmnico) -> None:
    event = umnico.customer_writes(100, "slow webhook")
    assert read(here, reader(here)) == 1
    here.post(content=json.dumps(event).encode())
    assert here.stored() == (1, 0)


def test_a_delivery_under_way_is_waited_for(here: World, umnico: FakeUmnico) -> None:
    umnico.customer_writes(100, "just now")
    assert read(here, reader(here, grace=30)) == 0
    assert here.messages() == []


def test_own_answers_are_no_news_and_a_persons_line_is(here: World, umnico: FakeUmnico) -> None:
    umnico.customer_writes(100, "hello")
    umnico.manager_writes(100, "an answer of the engine", user_id=BOT)
    umnico.manager_writes(100, "I am a person")
    assert read(here, reader(here)) == 2
    assert sorted((message.kind, message.text) for message in here.messages()) == [
        ("outgoing", "I am a person"), ("text", "hello"),
    ]  # fmt: skip


def test_a_long_history_is_read_to_its_end_and_no_further_than_what_is_known(here: World, umnico: FakeUmnico) -> None:
    for number in range(120):
        umnico.customer_writes(100, f"line {number}")
    assert read(here, reader(here)) == 120
    later = reader(here)
    later._since = utcnow() + timedelta(hours=1)
    umnico.customer_writes(100, "one more")
    assert read(here, later) == 0, "what is older than the last reading is not read again"


def test_an_inbox_that_cannot_be_read_is_tried_again(here: World, umnico: FakeUmnico) -> None:
    umnico.customer_writes(100, "hello")
    umnico.faults.add(faults.status(500), times=1)
    reconciler = reader(here)
    with pytest.raises(InboxUnreadable, match="500"):
        read(here, reconciler)
    assert read(here, reconciler) == 1


def test_a_hook_that_was_switched_off_is_on_again(here: World, umnico: FakeUmnico) -> None:
    ours = umnico.add_hook(f"http://127.0.0.1:9/umnico/default/{SECRET}/webhook")
    foreign = umnico.add_hook("http://127.0.0.1:9/elsewhere")
    ours.status = foreign.status = 0
    read(here, reader(here))
    assert (ours.status, foreign.status) == (1, 0)


def test_it_runs_by_itself_and_one_at_a_time(here: World, umnico: FakeUmnico) -> None:
    import asyncio

    umnico.customer_writes(100, "hello")

    async def both() -> None:
        readers = [asyncio.create_task(reader(here).run()) for _ in range(2)]
        until = time.monotonic() + 10
        while not here.messages() and time.monotonic() < until:
            await asyncio.sleep(0.05)
        for task in readers:
            task.cancel()
        await asyncio.gather(*readers, return_exceptions=True)

    here.run(both())
    assert len(here.messages()) == 1
    asked = [call for call in umnico.calls if "inbox" in str(call)]
    assert len(asked) == 1
