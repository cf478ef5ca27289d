"""What calls cost: the prices of the settings, else those LiteLLM knows, in the currency of the ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Any

from pipeline.providers import OWN, provider_of
from pipeline.spending import Quote, Used
from ragline.logs import get_logger
from ragline.spending_settings import Price, Priced

log = get_logger(__name__)

MILLION = 1_000_000
#: Digits of an amount: beyond them only a division has any, and the ledger's column is 40 characters wide.
DIGITS = 24
#: The least that is set aside for a call that may cost something: a length nobody knows is not free of charge.
LEAST = Decimal("0.000000001")
#: A model's price in a public list; None where it is not there.
Listed = Callable[[str], Price | None]


def listed_price(litellm: Any, model: str) -> Price | None:
    """A model's price in the list of the module ``litellm``, in US dollars, of its dearest tier; None where the list
    does not have it."""
    if provider_of(model) in OWN:
        return Price()
    try:
        info = dict(litellm.get_model_info(model))
    except Exception as error:  # LiteLLM raises several unrelated classes for a model it does not know
        log.info("model_not_listed", model=model, reason=type(error).__name__)
        return None

    tiers = [info, *(info.get("tiered_pricing") or ())]

    def of(name: str, times: int = MILLION) -> Decimal:
        return max(Decimal(repr(tier.get(name) or 0)) for tier in tiers) * times

    price = Price(
        input=of("input_cost_per_token"),
        output=of("output_cost_per_token"),
        cached=of("cache_read_input_token_cost") or None,
        cache_write=of("cache_creation_input_token_cost") or None,
        audio_minute=of("input_cost_per_second", 60),
        image=of("input_cost_per_image", 1),
    )
    return None if price.free and not _says_free(litellm, info) else price


def is_free(litellm: Any, model: str) -> bool:
    """Whether the list of the module ``litellm`` says that a model costs nothing."""
    price = listed_price(litellm, model)
    return price is not None and price.free


def _says_free(litellm: Any, info: dict[str, Any]) -> bool:
    """Whether prices of zero were found, and not just none: LiteLLM gives zeros for an entry that has no price.

    A model that is priced by something we do not count, such as characters, is not free.
    """
    entry = litellm.model_cost.get(info.get("key"), info)  # what a server of one's own says is in no entry
    named = [value for name, value in entry.items() if "_cost_per_" in name and value is not None]
    return bool(named) and not any(named)


@dataclass(frozen=True)
class Charge:
    """What a call cost, in the ledger's currency. ``cost`` None: unpriced; budgets then count ``counted``."""

    cost: Decimal | None
    counted: Decimal
    source: str | None


class PriceBook:
    """Prices of calls before and after they are made."""

    def __init__(self, settings: Priced, listed: Listed) -> None:
        self._settings = settings
        self._own = {_full(name): price for name, price in settings.prices.items()}
        self._listed = lru_cache(maxsize=256)(listed)

    def most(self, quote: Quote) -> Decimal:
        """The most a call can cost; 0 only where its model is known to be free.

        A model without a price is reckoned at the worst-case price, and so is sound where only its tokens have one.
        """
        own, worst = self._own.get(_full(quote.model)), self._settings.worst_case_price
        price = own or self._listed(quote.model) or worst
        if price.free:
            return Decimal(0)
        if own is None and quote.audio_seconds and not price.audio_minute:
            price = price.model_copy(update={"audio_minute": self._in(price, worst, worst.audio_minute)})
        if price.cache_write and price.cache_write > price.input:  # all of it may be
            price = price.model_copy(update={"input": price.cache_write})
        used = Used(quote.tokens_in, quote.max_tokens_out, 0, quote.audio_seconds, quote.images)
        return max(self._amount(price, used), LEAST)

    def charge(self, model: str, used: Used) -> Charge:
        """What a call cost by the settings' price of its model, else by LiteLLM's list; else it is unpriced."""
        if own := self._own.get(_full(model)):
            cost = self._amount(own, used)
            return Charge(cost, cost, "settings")
        if used.cost is not None:
            with localcontext() as context:
                context.prec = DIGITS
                cost = used.cost * self._settings.rate
            return Charge(cost, cost, used.price_source or "litellm")
        return Charge(None, self._amount(self._settings.worst_case_price, used), None)

    def _amount(self, price: Price, used: Used) -> Decimal:
        cached = price.input if price.cached is None else price.cached
        written = price.input if price.cache_write is None else price.cache_write
        # not every provider counts its cache among the tokens that were read
        fresh = max(used.tokens_in - used.tokens_cached - used.tokens_cache_write, 0)
        with localcontext() as context:
            context.prec = DIGITS
            tokens = (
                price.input * fresh
                + cached * used.tokens_cached
                + written * used.tokens_cache_write
                + price.output * used.tokens_out
            ) / MILLION
            sound = price.audio_minute * Decimal(str(used.audio_seconds)) / 60
            return self._in(None, price, tokens + sound + price.image * used.images)

    def _in(self, target: Price | None, source: Price, amount: Decimal) -> Decimal:
        """An amount of the price ``source`` in the currency of ``target``, or the ledger's."""
        currency, rate = target.currency if target else self._settings.currency, self._settings.rate
        if source.currency == currency:
            return amount
        return amount * rate if source.currency == "USD" else amount / rate


def _full(model: str) -> str:
    """A model's name with its provider, which a route and a price may each leave out."""
    return model if "/" in model else f"{provider_of(model)}/{model}"
