"""Nothing secret and nothing a customer wrote gets into the log."""

import io
import json
import logging

import pytest

from ragline.errors import TransientError
from ragline.logs import configure_logging, get_logger


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
