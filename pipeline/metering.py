"""The meter calls are paid from: budgets and ledger in SQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Protocol, runtime_checkable

from pipeline.errors import BudgetSpent
from pipeline.llm import LanguageModel, count_embeddings, listed_price
from pipeline.prices import Charge, Listed, PriceBook
from pipeline.providers import provider_of
from pipeline.spending import Booked, Meter, Quote, Reservation, Used
from ragline.clock import utcnow
from ragline.ids import new_id
from ragline.logs import get_logger
from ragline.settings import LlmSettings, Settings
from storage import spending
from storage.session import Database, DatabaseUnavailable
from storage.spending import UNIT, Counter, Limit, Payer, Refused

log = get_logger(__name__)

#: Beyond a call's deadline, before its process is taken for dead.
GRACE = timedelta(seconds=15)
#: Seconds after which a call that waits for room looks again: other processes do not wake it.
LOOK_AGAIN = 0.1
#: The limit of a call that is not to be refused; a counter's column holds twice as much.
UNBOUND = 1 << 62


@runtime_checkable
class Meterable(Protocol):
    """A language model that calls a provider."""

    def metered(self, meter: Meter) -> LanguageModel:
        """The same model, each call of which is paid from ``meter``."""
        ...


def metered(model: LanguageModel, meter: Meter) -> LanguageModel:
    """``model`` with its calls paid from ``meter``; itself where it calls nobody."""
    return model.metered(meter) if isinstance(model, Meterable) else model


@contextmanager
def embeddings_counted(settings: Settings, database: Database) -> Iterator[None]:
    """Within it the embeddings of this process are in the ledger. No budget refuses one: without a search there would
    be no stored answer either, and half an index is none."""
    spending = Spending(database, settings, listed_price)
    before = count_embeddings(spending.meter(Payer(), binding=False))
    try:
        yield
    finally:
        count_embeddings(before)


class Spending:
    """Sets money aside for calls and settles them. One a process; thread-safe."""

    def __init__(
        self, database: Database, settings: Settings, listed: Listed, clock: Callable[[], datetime] = utcnow
    ) -> None:
        """``listed`` looks a model's price up in LiteLLM's list."""
        self._database, self._budget, self._clock = database, settings.budget, clock
        self._currency = settings.llm.currency
        self._prices = PriceBook(settings.llm, listed)
        self._deadline = _longest_call(settings.llm) + GRACE
        self._settled = threading.Condition()
        self._count = 0

    def meter(self, payer: Payer, *, binding: bool = True, purpose: Booked | None = None) -> Meter:
        """What the calls of one payer are paid from, all for one ``purpose`` where it is given. Without ``binding``
        they are counted and never refused."""
        return _Meter(self, payer, binding, purpose)

    def reserve(self, payer: Payer, quote: Quote, *, binding: bool = True) -> Reservation:
        """Set the most that a call can cost aside, and write the call into the ledger.

        Where it does not fit only because of calls under way, those are waited for, ``budget.wait`` at most.
        Raises ``BudgetSpent``, or ``DatabaseUnavailable``.
        """
        most = self._prices.most(quote)
        row, give_up = self._row(payer, quote, most), time.monotonic() + self._budget.wait.total_seconds()
        swept = False
        while True:
            now, seen = self._clock(), self._count
            # A model that costs nothing may be asked whatever has been spent.
            held = spending.counters_of(self._budget, payer, now) if most else []
            asked = held if binding else [replace(counter, limit=UNBOUND) for counter in held]
            row |= {"day": spending.day_of(self._budget, now), "started_at": now, "expires_at": now + self._deadline}
            refused = self._database.commit(partial(spending.reserve, row=row, held=asked, now=now))
            if refused is None:
                return _Held(self, row, held, quote.model)
            if refused.passing and not swept:  # what holds the room may be dead
                swept = True
                if self.release_dead():
                    continue
            left = give_up - time.monotonic()
            if not refused.passing or left <= 0:
                raise self._spent(refused)
            with self._settled:
                self._settled.wait_for(lambda seen=seen: self._count != seen, min(LOOK_AGAIN, left))  # type: ignore[misc]

    def limits(self) -> list[Limit]:
        """The budgets that are set, and the periods that run."""
        return spending.limits_of(self._budget, self._clock())

    def release_dead(self) -> int:
        """Give up calls past their deadline, whose process must be dead; how many there were."""
        now = self._clock()
        with self._database.read() as session:
            dead = spending.expired(session.connection(), now=now)
        given_up = sum(self._database.commit(partial(spending.abandon, call=call, now=now)) for call in dead)
        if given_up:
            log.warning("model_calls_abandoned", calls=given_up)
            self._wake()
        return given_up

    def close(self, row: dict[str, Any], held: list[Counter], values: dict[str, Any]) -> None:
        """Write what came of a call. A database that is away does not cost the answer: the call is given up later."""
        now = self._clock()
        work = partial(spending.close, call_id=row["id"], held=held, reserved=row["counted"], now=now, values=values)
        try:
            warned = self._database.commit(work, single=not held)
        except DatabaseUnavailable:
            log.warning("model_call_not_settled", call_id=row["id"])
            return
        finally:
            self._wake()
        for one in warned:
            log.warning("budget_nearly_spent", **self._named(one.counter), spent=self._money(one.spent))

    def charge(self, model: str, used: Used) -> Charge:
        """What a call cost."""
        return self._prices.charge(model, used)

    def _row(self, payer: Payer, quote: Quote, most: Decimal) -> dict[str, Any]:
        return {
            **vars(payer), "id": new_id(), "provider": provider_of(quote.model), "model": quote.model,
            "purpose": quote.purpose, "modality": quote.modality, "tokens_in": 0, "tokens_out": 0, "tokens_cached": 0,
            "audio_seconds": 0.0, "images": 0, "cost": None, "currency": self._currency, "reserved": most,
            "counted": spending.counted(most), "outcome": "reserved",
        }  # fmt: skip

    def _spent(self, refused: Refused) -> BudgetSpent:
        named = self._named(refused.counter)
        if refused.first:
            log.error("budget_spent", **named, spent=self._money(refused.spent))
        why = "is held by calls under way" if refused.passing else "is spent"
        return BudgetSpent(
            f"{named['budget']} ({named['limit']}) for {named['period']} {why}; raise it, or wait for the next period"
        )

    def _named(self, counter: Counter) -> dict[str, str]:
        """A budget for a log line: no key of a sender, who is a person."""
        scope = "" if counter.scope == "all" else f"{counter.scope}."
        unit = "day" if len(counter.period) == 10 else "month"
        return {"budget": f"budget.{scope}{unit}", "limit": self._money(counter.limit), "period": counter.period}

    def _money(self, parts: int) -> str:
        return f"{format((Decimal(parts) / UNIT).normalize(), 'f')} {self._currency}"

    def _wake(self) -> None:
        with self._settled:
            self._count += 1
            self._settled.notify_all()


def _longest_call(llm: LlmSettings) -> timedelta:
    entries = [entry.timeout for route in llm.routes.values() for entry in route if entry.timeout]
    return min(max([llm.timeout, *entries]), llm.deadline)


class _Meter:
    def __init__(self, spending: Spending, payer: Payer, binding: bool, purpose: Booked | None) -> None:
        self._spending, self._payer, self._binding, self._purpose = spending, payer, binding, purpose

    def reserve(self, quote: Quote) -> Reservation:
        quote = replace(quote, purpose=self._purpose) if self._purpose else quote
        return self._spending.reserve(self._payer, quote, binding=self._binding)


class _Held:
    """Money set aside for one call."""

    def __init__(self, spending: Spending, row: dict[str, Any], held: list[Counter], model: str) -> None:
        self._spending, self._row, self._held, self._model = spending, row, held, model

    def settle(self, used: Used, *, ms: float) -> Decimal | None:
        charge = self._spending.charge(self._model, used)
        self._close(
            "answered", ms, counted=spending.counted(charge.counted), cost=charge.cost, price_source=charge.source,
            tokens_in=used.tokens_in, tokens_out=used.tokens_out, tokens_cached=used.tokens_cached,
            audio_seconds=used.audio_seconds, images=used.images,
        )  # fmt: skip
        return charge.cost

    def release(self, error: str, *, ms: float, charged: bool = False) -> None:
        cost = None if charged else Decimal(0)
        self._close(
            "failed", ms, counted=self._row["counted"] if charged else 0, cost=cost, price_source=None,
            tokens_in=0, tokens_out=0, tokens_cached=0, audio_seconds=0.0, images=0, error_class=error[:80],
        )  # fmt: skip

    def _close(self, outcome: str, ms: float, *, error_class: str | None = None, **values: Any) -> None:
        closed = {"outcome": outcome, "ms": round(ms, 3), "error_class": error_class, **values}
        self._spending.close(self._row, self._held, closed)
