"""What every task sees to: what an error says where Celery and Flower show it."""

import io
import traceback

import pytest
from celery.exceptions import Retry

from ragline.errors import PermanentError, TransientError
from ragline.logs import configure_logging
from workers.app import app
from workers.base import BaseTask, TaskCrashed

WORDS = " ".join(("what", "a", "customer", "wrote"))


def test_a_foreign_error_is_logged_and_shown_without_its_words() -> None:
    out = io.StringIO()
    configure_logging("INFO", "json", out)

    class Crashes(BaseTask):
        name = "test.crashes"

        def run(self) -> None:
            raise ValueError(WORDS)

    Crashes.bind(app)
    with pytest.raises(TaskCrashed) as raised:
        Crashes()()
    assert str(raised.value) == "ValueError"
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert "task_crashed" in out.getvalue()
    assert "test_base.py" in out.getvalue()
    assert WORDS not in out.getvalue()


@pytest.mark.parametrize(("ours", "raised"), [(PermanentError, PermanentError), (TransientError, Retry)])
def test_what_an_error_of_ours_came_from_is_not_shown_either(
    ours: type[Exception], raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    configure_logging("INFO", "json", out)

    class Fails(BaseTask):
        name = "test.fails"

        def run(self) -> None:
            try:
                raise ValueError(WORDS)
            except ValueError as error:
                raise ours("the database does not answer") from error

        def signature_from_request(self, *args: object, **kwargs: object) -> object:
            return type("Sent", (), {"apply_async": lambda self: None})()

    Fails.bind(app)
    task = Fails()
    task.push_request(id="1", retries=0, is_eager=False, called_directly=False)
    with pytest.raises(raised) as caught:
        task()
    # what Celery sends with its events: billiard formats it so
    shown = "".join(traceback.format_exception(caught.value))
    assert WORDS not in shown + out.getvalue()
    assert "the database does not answer" in shown + out.getvalue()
