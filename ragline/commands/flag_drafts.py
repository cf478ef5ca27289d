"""What ``ragline flags draft`` does."""

from __future__ import annotations

from pipeline.drafts import Draft, draft
from pipeline.llm import listed_price, make_language_model
from pipeline.masking import masked
from pipeline.memory import SqlMemory, memory_of
from pipeline.metering import Spending, metered
from pipeline.prompts import account_prompts
from pipeline.search import make_searcher
from pipeline.steps.retrieve import retrieve
from ragline.errors import ConfigurationError, PermanentError
from ragline.settings import Settings
from storage.session import Database
from storage.spending import Payer
from storage.views import flag_context
from storage.visibility import Scope


def draft_of(flag_id: str, settings: Settings, database: Database) -> tuple[str, Draft]:
    """A flag's question and a draft of an answer to it.

    Raises :class:`ConfigurationError` for a flag that is not there, ``PermanentError`` where nothing can be drafted,
    and what the model raises.
    """
    with database.read() as session:
        flag = flag_context(session, flag_id)
    if flag is None:
        raise ConfigurationError(f"there is no red flag {flag_id}; `ragline flags --json` lists the open ones")
    if not flag.question.strip():
        raise PermanentError("the flagged message holds no words to answer")
    configured = make_language_model(settings)
    if configured is None:
        raise PermanentError("a draft needs a language model and none is configured; `ragline doctor` says how")
    payer = Payer(channel=flag.channel, account=flag.account, conversation_id=flag.conversation_id)
    model = masked(metered(configured, Spending(database, settings, listed_price).meter(payer)), settings)
    found = retrieve(
        flag.question, searcher=make_searcher(settings, database), k=settings.knowledge.top_k, scope=Scope(flag.channel)
    )
    memory = memory_of(settings, flag.channel, flag.account, SqlMemory(database, flag.conversation_id, flag.before_seq))
    with account_prompts(settings.prompts.folder, flag.channel, flag.account):
        made = draft(
            flag.question, found.passages, model=model, memory=memory, history_tokens=settings.answer.history_tokens,
            max_tokens=settings.answer.max_tokens,
        )  # fmt: skip
    return flag.question, made
