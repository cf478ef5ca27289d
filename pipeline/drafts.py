"""A draft of an answer to a question that was left open, for an operator: what the base says, and what it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.grounding import Source, check, read_reply
from pipeline.history import Memory, remember
from pipeline.llm import LanguageModel
from pipeline.prompts import as_data, block_key, ledger_version, load
from pipeline.steps.replies import citation
from pipeline.steps.retrieve import Passage
from pipeline.turn import Citation, Usage


@dataclass(frozen=True)
class Draft:
    """``text`` has [?] where something has to be found out. ``doubt``: what the cited passages do not bear out, or why
    it is doubted; empty where nothing was found."""

    text: str
    citations: tuple[Citation, ...]
    doubt: str
    usage: Usage


def draft(
    question: str,
    passages: Sequence[Passage],
    *,
    model: LanguageModel,
    memory: Memory | None,
    history_tokens: int,
    max_tokens: int,
) -> Draft:
    """What could be answered from these passages. Raises what the model raises."""
    template = load("red_flag_draft")
    sources = [Source(one.question or one.heading or "", one.answer) for one in passages]
    past = remember(memory, tokens=history_tokens, model=model)
    messages = template.messages(
        key=block_key(question, *past.texts, *(one.whole for one in sources)),
        passages=[{"title": as_data(one.title), "text": as_data(one.text)} for one in sources],
        summary=as_data(past.summary),
        history=[(role, as_data(text)) for role, text in past.lines],
        question=as_data(question),
    )
    completion = model.complete(messages, max_tokens=max_tokens, purpose="draft")
    reply = read_reply(completion.text, sources)
    verdict = check(reply, sources, question=question, earlier=past.texts, max_tokens=max_tokens)
    named = {"template": template.name, "template_version": ledger_version(template)}
    return Draft(
        reply.text, tuple(citation(passages[number]) for number in reply.cited), verdict.shown or verdict.reason or "",
        (past.usage + completion.usage).model_copy(update=named),
    )  # fmt: skip
