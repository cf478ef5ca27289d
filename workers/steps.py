"""One step of one turn: claim it in SQL, do it outside any transaction, write what came of it in one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Literal

import structlog
from sqlalchemy import Connection

from pipeline.llm import LanguageModel
from pipeline.masking import masked
from pipeline.memory import SqlMemory, memory_of
from pipeline.prompts import account_prompts
from pipeline.run import search_step
from pipeline.steps.classify import classify, language_of
from pipeline.steps.deliver import deliver, notice
from pipeline.steps.generate import generate
from pipeline.steps.retrieve import Retrieval
from pipeline.steps.unreadable import told
from pipeline.turn import Answer, Classification, Turn, TurnMessage
from ragline.errors import PermanentError, RaglineError, TransientError, safe_text
from ragline.logs import get_logger
from storage import outbox, steps, turns
from storage.offers import Chosen, NewLabel, Offer, chosen_item, find_offer, open_offer
from storage.outbox import Sending
from storage.session import DatabaseUnavailable
from storage.steps import Claim, Done, LeaseLost, Ledger
from storage.understanding import parts_of
from workers.load import degraded
from workers.media import Understood, understand_files
from workers.paying import paid_model
from workers.runtime import Runtime
from workers.showing import ShowsWork

log = get_logger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a step left to do: outbox rows to send (``first``: the first of them, claimed); why it failed, if it did."""

    conversation_id: str
    rows: list[str]
    first: Sending | None = None
    turn_over: bool = False
    failure: str | None = None


class Poisonous(PermanentError):
    """The step's process died too often while it was at work; nobody tries it again but by a replay."""


class StepHeld(RaglineError):
    """Another attempt holds the step; it will go on with the chain."""


class StepRetry(TransientError):
    """The step is free again and due after ``retry_after`` seconds."""


def run_step(runtime: Runtime, turn_id: str, step: str) -> Outcome:
    """Do ``step`` of a turn if it is to be done; a step done before leaves nothing to do.

    Raises :class:`StepHeld`, :class:`StepRetry` or ``DatabaseUnavailable``.
    """
    settings = runtime.settings.turn
    held = runtime.database.commit(
        lambda connection: steps.claim(connection, turn_id, step, now=runtime.clock(), lease=settings.lease),
        single=True,
    )
    if held is None:
        raise StepHeld(f"step {step} of turn {turn_id} is being done elsewhere")
    if not isinstance(held, Claim):
        if held.status != "processing":
            raise StepHeld(f"turn {turn_id} is over ({held.status})")
        return Outcome(held.conversation_id, [])
    talk = held.conversation
    with (
        structlog.contextvars.bound_contextvars(
            turn_id=turn_id,
            step=step,
            conversation_id=talk.id,
            channel=talk.channel,
            message_ids=[message.id for message in held.messages],
        ),
        account_prompts(runtime.settings.prompts.folder, talk.channel, talk.account),
    ):
        return _attempt(runtime, held)


def _attempt(runtime: Runtime, held: Claim) -> Outcome:
    settings = runtime.settings.turn
    started_at, began = runtime.clock(), time.perf_counter()

    def ledger(answer: Answer | Understood | None = None) -> Ledger:
        usage = answer.usage.model_dump() if answer else {}
        return Ledger(ms=round((time.perf_counter() - began) * 1000, 3), started_at=started_at, **usage)

    try:
        if held.turn.crashes >= settings.max_crashes:
            raise Poisonous(f"the process of step {held.step} died {held.turn.crashes} times")
        with runtime.leases.hold(lambda connection, now, lease: steps.extend(connection, held, now=now, lease=lease)):
            done, answer = _STEPS[held.step](runtime, held)
        rows, first = runtime.database.commit(
            partial(_finish, runtime, held, done, ledger(answer)),
            single=done.single,
            durable=bool(done.parts),  # it claims the first one for sending
        )
    except LeaseLost:
        log.warning("lease_lost")
        raise StepHeld(f"step {held.step} of turn {held.turn.id} was taken over") from None
    except DatabaseUnavailable:
        raise  # nothing can be written; the lease runs out or the task comes back
    except Exception as error:
        return _failed(runtime, held, error, ledger())
    log.debug("step_done", ms=round((time.perf_counter() - began) * 1000, 1), mode=done.mode)
    return Outcome(held.conversation.id, rows, first, turn_over=done.suggested or done.silent)


def _finish(
    runtime: Runtime, held: Claim, done: Done, ledger: Ledger, connection: Connection
) -> tuple[list[str], Sending | None]:
    """Write what came of a step; who is to send its rows takes the first one in the same transaction."""
    now, settings = runtime.clock(), runtime.settings.turn
    made = steps.finish(connection, held, done, ledger, now=now, patience=settings.patience)
    first = outbox.claim(connection, made[0], now=now, lease=settings.lease) if made else None
    return made, first


def _failed(runtime: Runtime, held: Claim, error: Exception, ledger: Ledger) -> Outcome:
    """Try later, or end the turn with a notice to the customer and a red flag."""
    settings = runtime.settings.turn
    now = runtime.clock()
    asked = timedelta(seconds=getattr(error, "retry_after", None) or 0)
    attempts_left = held.attempt - held.turn.crashes < settings.max_attempts
    if isinstance(error, TransientError) and attempts_left and asked <= settings.longest_retry_after:
        backoff = settings.retry_base * 2 ** (held.attempt - 1)
        delay = max(min(backoff, settings.retry_max), asked)
        why = error
        runtime.database.commit(
            lambda connection: steps.retry_later(connection, held, why, ledger, now=now, delay=delay)
        )
        log.warning("step_retried", attempt=held.attempt, error=safe_text(error), seconds=delay.total_seconds())
        raise StepRetry(safe_text(error), delay.total_seconds()) from error
    if not isinstance(error, RaglineError):
        log.exception("step_crashed")
    try:
        sender = runtime.sender(held.conversation.channel, held.conversation.account)
        told = notice(_language(held), sender=sender, address=held.conversation.address)
    except PermanentError:
        told = []  # an account nobody configured any more: there is no way to tell
    question = "\n".join(message.text for message in held.messages)
    rows = runtime.database.commit(
        lambda connection: steps.fail(connection, held, error, ledger, now=now, notice=told, question=question)
    )
    log.error("turn_failed", attempt=held.attempt, error_class=type(error).__name__, error=safe_text(error))
    failure = f"step {held.step} of turn {held.turn.id} failed: {safe_text(error)}"
    return Outcome(held.conversation.id, rows, turn_over=True, failure=failure)


def _view(held: Claim) -> Turn:
    messages = tuple(
        TurnMessage(
            kind=envelope.kind,
            text=envelope.text,
            data=envelope.data,
            files=len(envelope.media),
            parts=tuple(filter(None, parts_of(message.understood))),
        )
        for message, envelope in ((message, turns.envelope_of(message)) for message in held.messages)
    )
    return Turn(id=held.turn.id, messages=messages, locale=held.conversation.locale)


def _language(held: Claim) -> Literal["ru", "en"]:
    """The language of a notice, without anything of a step: it may be the step that kills."""
    return language_of("\n".join(message.text for message in held.messages), held.conversation.locale)


def _model(runtime: Runtime, held: Claim, message_id: str | None = None) -> LanguageModel | None:
    """The language model of this turn: it is paid from the turn's budgets and sees no personal data it need not see.

    ``message_id``: the message that its calls make readable.
    """
    paid = paid_model(runtime, held, message_id)
    return ShowsWork(runtime, held, masked(paid, runtime.settings)) if paid else None


def _understand(runtime: Runtime, held: Claim) -> tuple[Done, Understood | None]:
    """What it finds, and what it cost, is kept on the messages, where later turns read it too."""
    return Done({}), Understood(understand_files(runtime, held, partial(_model, runtime, held)))


def _classify(runtime: Runtime, held: Claim) -> tuple[Done, Answer | None]:
    """A choice is a label too."""
    found = classify(_view(held), offers=partial(_offer, runtime, held))
    choice, label = found.choice, None
    if choice and choice.offer and choice.outcome in ("item", "none"):
        label = NewLabel(choice.offer, choice.question, choice.item)
    return Done(found.model_dump(mode="json"), label=label), None


def _offer(runtime: Runtime, held: Claim, offer_id: str | None) -> Offer | None:
    """What a turn of this conversation offered, or what the message at hand may answer."""
    talk, mine, first = held.conversation.id, held.turn.id, held.messages[0].seq
    if not held.conversation.offered:
        return None
    with runtime.database.read() as session:
        if offer_id is None:
            return open_offer(session.connection(), talk, before=first, turn_id=mine)
        return find_offer(session.connection(), talk, offer_id, turn_id=mine)


def _retrieve(runtime: Runtime, held: Claim) -> tuple[Done, Answer | None]:
    classification = Classification.model_validate(held.results["classify"])
    talk, k = held.conversation, runtime.settings.knowledge.top_k

    def chosen(item_id: str) -> Chosen | None:
        with runtime.database.read() as session:
            return chosen_item(session, item_id, channel=talk.channel, now=runtime.clock())

    found = search_step(
        classification,
        searcher=runtime.searcher,
        k=k,
        channel=talk.channel,
        locale=talk.locale,
        chosen=chosen,
    )
    return Done(found.model_dump(mode="json")), None


def _generate(runtime: Runtime, held: Claim) -> tuple[Done, Answer | None]:
    classification = Classification.model_validate(held.results["classify"])
    retrieval = Retrieval.model_validate(held.results["retrieve"])

    model = _model(runtime, held)
    level = runtime.load.level() if model else "normal"
    talk = held.conversation
    lines = SqlMemory(runtime.database, talk.id, held.messages[0].seq, runtime.clock)
    memory = memory_of(runtime.settings, talk.channel, talk.account, lines)
    answer = generate(classification, retrieval, policy=degraded(runtime.policy, level), model=model, memory=memory)
    answer = told(answer, classification, runtime.policy)
    if level == "direct_only" and answer.flag == "no_answer" and classification.request == "question":
        answer = answer.model_copy(update={"flag": "overload"})
    done = Done(
        answer.model_dump(mode="json", exclude={"usage"}),
        mode=answer.mode,
        flag=answer.flag,
        offers=bool(answer.options),
        question=classification.question,
    )
    return done, answer


def _deliver(runtime: Runtime, held: Claim) -> tuple[Done, Answer | None]:
    answer = Answer.model_validate(held.results["generate"])
    human = held.conversation.mode == "human"
    _acknowledge(runtime, held, silent=human or answer.repeated, note=answer.text if answer.repeated else "")
    if human or answer.repeated:
        return Done({"parts": 0}, suggested=human, silent=not human), None
    sender = runtime.sender(held.conversation.channel, held.conversation.account)
    language = held.results["classify"]["language"]
    parts = deliver(answer, sender=sender, address=held.conversation.address, turn_id=held.turn.id, language=language)
    return Done({"parts": len(parts)}, parts=parts), None


def _acknowledge(runtime: Runtime, held: Claim, *, silent: bool, note: str) -> None:
    """Tell the customer that their presses arrived. The newest one's sender does that where an answer is sent."""
    asked = (message.envelope for message in held.messages)
    presses = [envelope["external_id"] for envelope in asked if envelope["kind"] == turns.PRESS]
    for press in presses if silent else presses[:-1]:
        runtime.sender(held.conversation.channel, held.conversation.account).acknowledge(press, note)


_STEPS: dict[str, Callable[[Runtime, Claim], tuple[Done, Answer | Understood | None]]] = {
    "understand": _understand,
    "classify": _classify,
    "retrieve": _retrieve,
    "generate": _generate,
    "deliver": _deliver,
}
