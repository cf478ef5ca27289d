"""A grounded answer: written by a language model over the passages found, and checked before it is sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.grounding import Reply, Source, Verdict, check, read_reply, whole_sentences
from pipeline.history import Memory, Remembered, remember
from pipeline.llm import ChatMessage, LanguageModel
from pipeline.marks import DECLINED
from pipeline.orders import gives_orders
from pipeline.prompts import as_data, block_key, ledger_version, load
from pipeline.steps.replies import citation, unknown
from pipeline.steps.retrieve import Passage, Retrieval
from pipeline.turn import Answer, Classification, Usage
from ragline.logs import get_logger

log = get_logger(__name__)
_SUPPORTED = re.compile(r"\W*SUPPORTED\W*", re.IGNORECASE)
#: Tokens of a verdict, and of what some models think before it.
_VERDICT_TOKENS = 256
#: An answer that rests on nothing is asked for once more.
_ATTEMPTS = 2


@dataclass(frozen=True)
class _Request:
    """What a model is asked. ``instructions``: all of it that is ours."""

    messages: Sequence[ChatMessage]
    instructions: str
    key: str
    template: str
    version: str


def grounded(
    classification: Classification,
    retrieval: Retrieval,
    *,
    model: LanguageModel,
    memory: Memory | None,
    history_tokens: int,
    max_tokens: int,
    checked_by_model: bool,
) -> Answer:
    """The model's answer where it is borne out by what it cites, else ``unknown`` with the flag ``unsupported``.

    Its usage is that of all calls: notes on the conversation, both attempts, the checks. Raises what the model raises.
    """
    retrieval = _without_orders(retrieval)
    if not retrieval.passages:
        return unknown("unknown", classification.language, flag="no_answer", confidence=retrieval.confidence)
    sources = [Source(_title(passage), passage.answer) for passage in retrieval.passages]
    past = remember(memory, tokens=history_tokens, model=model)
    request = _request(classification, sources, past)
    messages, usage = request.messages, past.usage
    for attempt in range(1, _ATTEMPTS + 1):
        completion = model.complete(messages, max_tokens=max_tokens)
        usage = usage + completion.usage
        reply = read_reply(whole_sentences(completion.text) if completion.cut else completion.text, sources)
        if (not reply.text and not completion.cut) or DECLINED in reply.text:  # nothing but marks is no answer either
            return _unknown(classification, retrieval, request, usage, "model_declined")
        verdict, spent = _judged(
            reply, classification, sources, past, request, model, max_tokens=max_tokens, by_model=checked_by_model
        )
        usage = usage + spent
        if verdict.reason is None:
            return _answer(reply, retrieval, request, usage)
        log.info("answer_unsupported", reason=verdict.reason, attempt=attempt)
        again = load("answer_again").render(reason=verdict.reason, shown=as_data(verdict.shown))
        said = [{"role": "assistant", "content": completion.text}, {"role": "user", "content": again}]
        messages = [*request.messages, *said]
    return _unknown(classification, retrieval, request, usage, "unsupported")


def _without_orders(retrieval: Retrieval) -> Retrieval:
    """Without the passages that tell a machine what to do: nobody wrote those for customers."""
    planted = {passage.id for passage in retrieval.passages if gives_orders(passage.answer)}
    if not planted:
        return retrieval
    log.warning("passages_give_orders", items=sorted(planted))
    clean = tuple(passage for passage in retrieval.passages if passage.id not in planted)
    return retrieval.model_copy(update={"passages": clean})


def _title(passage: Passage) -> str:
    """What a passage is about; nothing where that gives orders: a question may be a customer's own words."""
    title = passage.question or passage.heading or ""
    return "" if gives_orders(title) else title


def _request(classification: Classification, sources: Sequence[Source], past: Remembered) -> _Request:
    system, template = load("base_system_prompt"), load(f"{_template_of(classification)}_answer_template")
    rules = system.render(language=classification.language)
    data = {
        "passages": [{"title": as_data(one.title), "text": as_data(one.text)} for one in sources],
        "summary": as_data(past.summary),
        "history": [(role, as_data(text)) for role, text in past.lines],
        "question": as_data(classification.asked),
    }
    key = block_key(classification.asked, *past.texts, *(one.whole for one in sources))
    empty = template.render(key="", passages=[], summary="", history=[], question="")
    messages = [
        {"role": "system", "content": rules},
        {"role": "user", "content": template.render(key=key, **data)},
    ]
    return _Request(messages, f"{rules}\n{empty}", key, template.name, ledger_version(system, template))


def _template_of(classification: Classification) -> str:
    return classification.modality if classification.modality in ("voice", "video", "document") else "text"


def _judged(
    reply: Reply, classification: Classification, sources: Sequence[Source], past: Remembered, request: _Request,
    model: LanguageModel, *, max_tokens: int, by_model: bool,
) -> tuple[Verdict, Usage]:  # fmt: skip
    """Whether a reply may be sent: first what costs nothing, then a model where one is to be asked."""
    if not reply.text:  # cut before the first sentence was whole
        return Verdict("length"), Usage()
    if request.key in reply.text:
        return Verdict("leak"), Usage()
    verdict = check(
        reply, sources, question=classification.asked, earlier=past.texts, instructions=request.instructions,
        max_tokens=max_tokens,
    )  # fmt: skip
    if verdict.reason or not by_model:
        return verdict, Usage()
    template = load("ground_check")
    cited = [{"title": as_data(sources[n].title), "text": as_data(sources[n].text)} for n in reply.cited]
    completion = model.complete(
        template.messages(
            key=block_key(reply.text, classification.asked, *(sources[n].whole for n in reply.cited)),
            passages=cited, question=as_data(classification.asked), answer=as_data(reply.text),
        ),
        max_tokens=_VERDICT_TOKENS, purpose="check",
    )  # fmt: skip
    supported = _SUPPORTED.fullmatch(completion.text) is not None
    return Verdict(None if supported else "unsupported"), completion.usage


def _answer(reply: Reply, retrieval: Retrieval, request: _Request, usage: Usage) -> Answer:
    cited: list[Passage] = [retrieval.passages[number] for number in reply.cited]
    return Answer(
        text=reply.text, mode="grounded", confidence=retrieval.confidence,
        citations=tuple(map(citation, cited)), usage=_named(usage, request),
    )  # fmt: skip


def _unknown(
    classification: Classification, retrieval: Retrieval, request: _Request, usage: Usage, flag: str
) -> Answer:
    told = unknown("unknown", classification.language, flag=flag, confidence=retrieval.confidence)
    return told.model_copy(update={"usage": _named(usage, request)})


def _named(usage: Usage, request: _Request) -> Usage:
    return usage.model_copy(update={"template": request.template, "template_version": request.version})
