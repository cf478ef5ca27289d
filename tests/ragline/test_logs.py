"""Nothing secret and nothing a customer wrote gets into the log."""

import io
import json
import logging
import re
import sys
import threading
import warnings
from types import SimpleNamespace

import pytest

from ragline.errors import TransientError
from ragline.logs import configure_logging, get_logger, log_uncaught


def without_times(written: str) -> str:
    """A log without the moments of its lines, which may hold any digits."""
    return re.sub(r"[\d-]{10}T[\d:.]{8,}Z", "", written)


@pytest.mark.parametrize("style", ["json", "console"])
def test_secrets_and_texts_are_masked(style: str) -> None:
    out = io.StringIO()
    configure_logging("INFO", style, out)  # type: ignore[arg-type]
    get_logger("t").info(
        "event",
        text="my words",
        error="POST https://x/bot123456:AAbbCC-dd_ee/send failed",
        url="/umnico/default/s3cr3t/x",
    )
    logging.getLogger("other").warning("Authorization: Bearer abcdef123456")
    try:
        raise ValueError("call to /bot123456:AAbbCC-dd_ee/getMe")
    except ValueError:
        get_logger("t").exception("crashed")
    written = out.getvalue()
    for secret in ("my words", "AAbbCC", "s3cr3t", "abcdef123456"):
        assert secret not in written
    if style == "json":
        assert json.loads(written.splitlines()[0])["event"] == "event"


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_says_where_and_never_quotes_what_it_was_given(style: str) -> None:
    out = io.StringIO()
    configure_logging("INFO", style, out)  # type: ignore[arg-type]
    words = " ".join(("what", "a", "customer", "wrote"))
    try:
        try:
            raise KeyError(words)
        except KeyError as error:
            raise TransientError("the channel does not answer") from error
    except TransientError:
        get_logger("t").exception("crashed")
        logging.getLogger("celery").exception("crashed too")
    written = out.getvalue()
    assert "what a customer wrote" not in written
    for said in ("test_logs.py", "KeyError", "TransientError: the channel does not answer"):
        assert written.count(said) >= 2


@pytest.mark.parametrize("style", ["json", "console"])
def test_personal_data_in_any_value_is_not_written(style: str) -> None:
    out = io.StringIO()
    configure_logging("INFO", style, out)  # type: ignore[arg-type]
    turn = "019acb4e-1234-7890-8123-123456789012"
    get_logger("t").info(
        "event",
        turn_id=turn,
        error="400: phone +7 (916) 123-45-67 of ivan@mail.ru",
        fields={"card": ["4111 1111 1111 1111"], "caption": "my words"},
        cause=ValueError("passport 4509 123456"),
        what=SimpleNamespace(iban="DE89370400440532013000"),
        took="0.123456789 s",
        sender=79161234567,
        lines={"8 926 123-45-67": 2},
        bytes=734003200,
    )
    logging.getLogger("vendor").warning("cannot send %s to %s", "4111-1111-1111-1111", "8 916 123 45 67")
    written = without_times(out.getvalue())
    for said in ("916", "926", "ivan", "4111", "my words", "4509", "DE8937"):
        assert said not in written
    for said in (turn, "0.123456789 s", "ValueError", "734003200"):
        assert said in written


def test_a_thread_s_death_and_a_warning_are_logged_without_their_words(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    monkeypatch.setattr("threading.excepthook", threading.excepthook)
    configure_logging("INFO", "json", out)
    with warnings.catch_warnings():
        log_uncaught()
        warnings.simplefilter("default")
        warnings.warn("input_value='call 8 916 123 45 67'", stacklevel=1)

        def die() -> None:
            raise ValueError(" ".join(("what", "a", "customer", "wrote")))

        thread = threading.Thread(target=die)
        thread.start()
        thread.join()
    logging.captureWarnings(False)
    written = without_times(out.getvalue())
    assert "thread_died" in written
    assert "test_logs.py" in written
    assert "input_value" in written
    for said in ("916", "what a customer wrote"):
        assert said not in written
