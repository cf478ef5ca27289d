"""`ragline channel`: what is configured, and telling Telegram where to send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ragline.commands.channel import app
from ragline.settings import FIXED_ENVIRONMENT, get_settings
from tests.support import faults
from tests.support.fake_telegram import TOKEN, FakeTelegram

SECRET = "s3cret_of-the-webhook"
Command = Callable[..., Result]


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    with FakeTelegram() as found:
        yield found


@pytest.fixture
def command(telegram: FakeTelegram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """`command(*arguments, **environ)`; an empty value takes a name out of the environment."""
    monkeypatch.chdir(tmp_path)
    for name in FIXED_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, **environ: str) -> Result:
        given = {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_BASE": telegram.url,
            "TELEGRAM_MODE": "webhook",
            "TELEGRAM_WEBHOOK_SECRET": SECRET,
            "RAGLINE_PUBLIC_URL": "https://support.example/",
            **environ,
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        return CliRunner().invoke(app, list(arguments))

    yield run
    get_settings.cache_clear()


def set_calls(telegram: FakeTelegram) -> list[dict[str, object]]:
    return [call.params for call in telegram.calls if call.method == "setWebhook"]


def test_set_webhook_tells_telegram_everything_in_one_call(telegram: FakeTelegram, command: Command) -> None:
    result = command("set-webhook", "telegram", "--json")
    assert result.exit_code == 0
    url = "https://support.example/telegram/default/webhook"
    assert json.loads(result.stdout) == [
        {"channel": "telegram", "account": "default", "url": url, "done": "the webhook is set"}
    ]
    (params,) = set_calls(telegram)
    assert (params["url"], params["secret_token"]) == (url, SECRET)
    assert {"message", "edited_message", "callback_query", "my_chat_member"} <= set(params["allowed_updates"])  # type: ignore[call-overload]
    assert len(telegram.calls) == 1


@pytest.mark.parametrize(
    ("environ", "arguments", "says"),
    [
        ({"RAGLINE_PUBLIC_URL": ""}, ["telegram"], "RAGLINE_PUBLIC_URL"),
        ({"RAGLINE_PUBLIC_URL": "support.example"}, ["telegram"], "https://"),
        ({"TELEGRAM_WEBHOOK_SECRET": ""}, ["telegram"], "TELEGRAM_WEBHOOK_SECRET"),
        ({"TELEGRAM_WEBHOOK_SECRET": "not all/owed"}, ["telegram"], "A-Z"),
        ({"TELEGRAM_BOT_TOKEN": ""}, ["telegram"], "TELEGRAM_BOT_TOKEN"),
        ({}, ["telegram", "--account", "other"], "telegram.other"),
        ({}, ["umnico"], "no account umnico"),
    ],
)
def test_what_is_missing_is_named(
    telegram: FakeTelegram, command: Command, environ: dict[str, str], arguments: list[str], says: str
) -> None:
    result = command("set-webhook", *arguments, **environ)
    assert result.exit_code == 2
    assert says in result.stderr
    assert set_calls(telegram) == []


def test_telegrams_refusal_is_shown_without_the_token(telegram: FakeTelegram, command: Command) -> None:
    telegram.faults.add(faults.status(400, "Bad Request: bad webhook: IP address is reserved"), "setWebhook")
    result = command("set-webhook")
    assert result.exit_code == 1
    assert "IP address is reserved" in result.stderr
    assert TOKEN not in result.output
    assert SECRET not in result.output


def test_polling_mode_is_warned_of(telegram: FakeTelegram, command: Command) -> None:
    result = command("set-webhook", TELEGRAM_MODE="polling")
    assert result.exit_code == 0
    assert "TELEGRAM_MODE=webhook" in result.stderr
    assert len(set_calls(telegram)) == 1


def test_an_unknown_channel_is_wrong_use(command: Command) -> None:
    assert command("set-webhook", "pigeon").exit_code == 2


def test_list_shows_accounts_and_webhooks_and_no_secret(telegram: FakeTelegram, command: Command) -> None:
    umnico = {"UMNICO_API_TOKEN": "umnico-token-1", "UMNICO_WEBHOOK_SECRET": "u" * 24, "UMNICO_USER_ID": "5"}
    telegram.set_webhook("https://support.example/telegram/default/webhook", SECRET)
    result = command("list", "--json", **umnico)
    assert result.exit_code == 0
    rows = {row["channel"]: row for row in json.loads(result.stdout)}
    assert (rows["telegram"]["account"], rows["telegram"]["mode"]) == ("default", "webhook")
    assert rows["telegram"]["webhook"]["url"] == "https://support.example/telegram/default/webhook"
    assert rows["telegram"]["webhook"]["pending"] == 0
    assert rows["umnico"]["mode"] == "webhook"
    assert rows["widget"]["mode"] == "http"
    table = command("list", **umnico)
    assert table.exit_code == 0
    for secret in (SECRET, TOKEN, "umnico-token-1", "u" * 24):
        assert secret not in result.output + table.output


def test_list_works_while_telegram_does_not(telegram: FakeTelegram, command: Command) -> None:
    telegram.stop()
    result = command("list", "--json")
    assert result.exit_code == 0
    (row,) = (row for row in json.loads(result.stdout) if row["channel"] == "telegram")
    assert "does not answer" in row["webhook"]["error"]


def test_broken_settings_are_one_line(command: Command) -> None:
    for arguments in (["list"], ["set-webhook"]):
        result = command(*arguments, RAGLINE__TURN__LEASE="soon")
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
