"""Files of a bot's customers: getFile and the file itself, and what their failures mean."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from pipeline.envelope import MediaRef
from pipeline.errors import NotUnderstood
from pipeline.senders.telegram import TelegramSender
from ragline.channels import TelegramAccount
from ragline.errors import PermanentError, RaglineError
from ragline.settings import Settings
from storage.download import DownloadFailed
from tests.support import faults
from tests.support.fake_telegram import FakeTelegram


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    with FakeTelegram() as server:
        yield server


def fetched(telegram: FakeTelegram, file_id: str, token: str | None = None, **media: object) -> bytes:
    account = TelegramAccount.model_validate({"token": token or telegram.token, "api_base": telegram.url + "/"})
    sender = TelegramSender("default", account, Settings.model_validate({"media": media}))
    into = io.BytesIO()
    sender.download(MediaRef(type="photo", ref=file_id), into)
    return into.getvalue()


def problem(telegram: FakeTelegram, file_id: str, **media: object) -> str:
    with pytest.raises(NotUnderstood) as refused:
        fetched(telegram, file_id, **media)
    return refused.value.problem


def test_a_file_is_fetched_through_the_bot(telegram: FakeTelegram) -> None:
    file = telegram.add_file(b"x" * 300_000, "photos/file", ".jpg")
    assert fetched(telegram, file.file_id) == b"x" * 300_000
    assert [call.method for call in telegram.calls] == ["getFile", "file"]


def test_what_telegram_does_not_hand_out_is_no_failure(telegram: FakeTelegram) -> None:
    claimed = telegram.add_file(b"x", size=21 * 2**20)
    longer = telegram.add_file(b"x" * (2**20 + 1), size=100)
    assert problem(telegram, claimed.file_id) == "too_large"
    assert problem(telegram, longer.file_id, largest=1) == "too_large"
    assert problem(telegram, "F-unknown") == "gone"
    telegram.faults.add(faults.status(404), "file")
    assert problem(telegram, longer.file_id) == "gone"


def test_outages_are_tried_again_and_no_error_names_the_token(telegram: FakeTelegram) -> None:
    file = telegram.add_file(b"x")
    told: list[RaglineError] = []
    for method in ("getFile", "file"):
        telegram.faults.add(faults.status(502), method)
        with pytest.raises(DownloadFailed) as failed:
            fetched(telegram, file.file_id)
        told.append(failed.value)
    with pytest.raises(PermanentError) as refused:
        fetched(telegram, file.file_id, token="654321:WRONG")
    address = telegram.url
    telegram.stop()
    with pytest.raises(DownloadFailed) as away:
        fetched(telegram, file.file_id)
    for error in (*told, refused.value, away.value):
        assert telegram.token not in str(error)
        assert "WRONG" not in str(error)
        assert address not in str(error)
        assert error.__cause__ is None
