"""Settings: where they come from, and how a wrong one is named."""

from datetime import timedelta
from pathlib import Path

import pytest

from ragline.channels import TelegramAccount, UmnicoAccount
from ragline.errors import ConfigurationError
from ragline.settings import Settings, load_settings

EXAMPLE = Path(__file__).parents[2] / "ragline.example.yaml"


def test_the_example_file_holds_the_defaults() -> None:
    assert load_settings({}, EXAMPLE) == load_settings({}) == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ragline.yaml"
    path.write_text("port: 1234\nanswer: {direct_threshold: 0.5, modes: [direct]}\nturn: {quiet_window: 3}\n")
    found = load_settings({"PORT": "99", "RAGLINE__ANSWER__DIRECT_THRESHOLD": "0.8", "RAGLINE_QUIET_WINDOW": "0"}, path)
    assert (found.port, found.answer.direct_threshold, found.answer.modes) == (99, 0.8, ("direct",))
    assert found.turn.quiet_window == timedelta()


def test_credentials_of_the_environment_form_the_default_account() -> None:
    found = load_settings({"TELEGRAM_BOT_TOKEN": "1:a", "TELEGRAM_API_BASE": "http://x", "UMNICO_API_BASE": "http://y"})
    account = found.accounts("telegram", TelegramAccount)["default"]
    assert (account.token.get_secret_value(), account.api_base, account.mode) == ("1:a", "http://x", "polling")
    assert found.accounts("umnico", UmnicoAccount) == {}, "a base address alone is no account"
    assert "1:a" not in repr(found)


def test_the_api_waits_for_no_more_messages() -> None:
    found = load_settings({"RAGLINE_API_KEY": "k"})
    assert found.quiet_window("api", "default") == timedelta()
    assert found.quiet_window("widget", "default") == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"RAGLINE__KNOWLEGE__DEMO": "off"}, "'knowlege'; did you mean 'knowledge'"),
        ({"RAGLINE__KNOWLEDGE__DEMOO": "off"}, "'demoo'; did you mean 'demo'"),
        ({"RAGLINE_QIET_WINDOW": "0"}, "did you mean 'RAGLINE_QUIET_WINDOW'"),
        ({"RAGLINE__CHANNELS__TELEGRM__A__TOKEN": "x"}, "'telegrm'; did you mean 'telegram'"),
        ({"RAGLINE__CHANNELS__TELEGRAM__A__TOKN": "x"}, "'tokn'; did you mean 'token'"),
        ({"RAGLINE__ANSWER__MODES": "[direct"}, "RAGLINE__ANSWER__MODES: is neither a list"),
        ({"RAGLINE__TURN__QUIET_WINDOW": "inf"}, "turn.quiet_window: must be a number of seconds, 365 days"),
        ({"RAGLINE__TURN__QUIET_WINDOW": "-1"}, "turn.quiet_window: must not be negative"),
        ({"RAGLINE__TURN__LEASE": "0"}, "turn.lease: must be 0.01 seconds or more"),
        ({"RAGLINE__TURN__SWEEP_PERIOD": "0"}, "turn.sweep_period: must be 0.01 seconds or more"),
        ({"RAGLINE__LIMITS__WINDOW": "-5"}, "limits.window: must"),
        ({"RAGLINE__X": "[a"}, "RAGLINE__X: is neither a list"),
        ({"PORT": "abc"}, "port: Input should be a valid integer"),
        ({"UMNICO_API_TOKEN": "x", "UMNICO_USER_ID": "1", "UMNICO_WEBHOOK_SECRET": "short"}, "at least 128 bits"),
        ({"UMNICO_API_TOKEN": "x"}, r"channels\.umnico\.default\.user_id is missing; set it, or UMNICO_USER_ID"),
    ],
)
def test_a_wrong_setting_is_named_on_one_line(environment: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as raised:
        load_settings(environment)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"port: [", "is not valid YAML at line"),
        (b"- a\n", "must hold settings by name"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"channels: 3\n", "must hold accounts"),
        (b"channels: {telegram: 3}\n", r"channels\.telegram: must hold accounts"),
        (b"channels: {telegram: {default: 5}}\n", r"channels\.telegram\.default: must hold settings"),
        (b"channels: {telegram: {default: abc}}\n", r"channels\.telegram\.default: must hold settings"),
        (b"channels: {telegram: {default: {moed: webhook}}}\n", "'moed'; did you mean 'mode'"),
        (b"channels: {5: {default: {}}}\n", "unknown channel '5'"),
        (b"channels: []\n", "channels: must hold accounts"),
        (b"\x00", "is not valid YAML"),
        (b"turn: {lease: .inf}\n", "turn.lease: must be a number of seconds, 365 days"),
        (b"turn: {lease: .nan}\n", "turn.lease: must be a number of seconds, 365 days"),
        (b"turn: {lease: on}\n", "turn.lease: must be a number of seconds"),
    ],
)
def test_a_broken_file_is_named_on_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "ragline.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=says) as raised:
        load_settings({}, path)
    assert "\n" not in str(raised.value)


def test_a_generated_secret_may_be_in_the_environment() -> None:
    assert load_settings({"RAGLINE_REDIS_PASSWORD": "x"}) == load_settings({})
