"""What is answered when a budget does not hold the calls of a model."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from pipeline.errors import BudgetSpent
from pipeline.turn import Answer
from ragline.logs import get_logger

log = get_logger(__name__)
P = ParamSpec("P")


def answers_within_budget(answer: Callable[P, Answer]) -> Callable[P, Answer]:
    """``answer`` that, where a budget is spent, answers again with its argument ``model`` None: stored answers go out,
    what is likely is asked back, the rest is unknown. What a model would have answered has the red flag ``budget``."""

    @wraps(answer)
    def within(*args: P.args, **kwargs: P.kwargs) -> Answer:
        try:
            return answer(*args, **kwargs)
        except BudgetSpent as error:
            log.info("answered_without_model", reason=str(error))
        kwargs["model"] = None
        said = answer(*args, **kwargs)
        instead = said.mode in ("clarify", "unknown") and said.flag in (None, "no_answer")
        return said.model_copy(update={"flag": "budget"}) if instead else said

    return within
