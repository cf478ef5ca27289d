"""What kind of request a message is, by a language model: where no stored answer is sure and the settings say so."""

from __future__ import annotations

import re

from pipeline.llm import LanguageModel
from pipeline.prompts import as_data, block_key, ledger_version, load
from pipeline.steps.replies import unknown
from pipeline.turn import Answer, Classification, Usage
from ragline.errors import RaglineError
from ragline.logs import get_logger

log = get_logger(__name__)
_KIND = re.compile(r"\W*(HUMAN|GREETING|THANKS|FAREWELL|INJECTION|QUESTION)\W*", re.IGNORECASE)
#: Tokens of one word, and of what some models think before it.
_TOKENS = 256


def sort_out(classification: Classification, model: LanguageModel, *, smalltalk: bool) -> tuple[Answer | None, Usage]:
    """The answer to a message that is no question after all; None for a question, or where the model is away."""
    template, question = load("classify"), as_data(classification.question)
    try:
        completion = model.complete(
            template.messages(key=block_key(question), question=question), max_tokens=_TOKENS, purpose="classify"
        )
    except RaglineError as error:
        log.warning("request_not_classified", error=type(error).__name__)
        return None, Usage()
    named = {"template": template.name, "template_version": ledger_version(template)}
    usage = completion.usage.model_copy(update=named)
    found = _KIND.fullmatch(completion.text)
    kind = found.group(1).lower() if found else "question"
    if kind == "human":
        return unknown("human", classification.language, flag="human_request"), usage
    if kind == "injection":
        return unknown("unknown", classification.language, flag="injection"), usage
    if kind != "question" and smalltalk:
        text = load(f"reply_{kind}").render(language=classification.language)
        return Answer(text=text, mode="smalltalk", confidence=1.0), usage
    return None, usage
