"""What every task sees to: what an error says where Celery and Flower show it."""

import io

import pytest

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
