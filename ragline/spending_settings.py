"""Settings of what model calls cost, and of how much may be spent on them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from ragline.setting_types import Duration, Group

#: An amount of money; a number in YAML, or a text that keeps every digit.
Amount = Annotated[Decimal, Field(ge=0, le=1_000_000_000)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not found, a folder of zones, or no name at all
        raise ValueError("must be a time zone such as Europe/Moscow or UTC") from None
    return name


class Price(Group):
    """What one model costs."""

    input: Amount = Field(Decimal(0), description="Of a million tokens that are read.")
    output: Amount = Field(Decimal(0), description="Of a million tokens that are written.")
    cached: Amount | None = Field(
        None, description="Of a million tokens read from the provider's cache; default: as input."
    )
    cache_write: Amount | None = Field(
        None, description="Of a million tokens written into the provider's cache; default: as input."
    )
    audio_minute: Amount = Field(Decimal(0), description="Of a minute of sound.")
    image: Amount = Field(Decimal(0), description="Of a picture, beside its tokens.")
    currency: Currency = Field("USD", description="What the amounts are in: US dollars, or llm.currency.")

    @property
    def free(self) -> bool:
        """Whether nothing costs anything."""
        return not any((self.input, self.output, self.cached, self.cache_write, self.audio_minute, self.image))


class Priced(Group):
    """The part of the group ``llm`` that says what calls cost."""

    prices: dict[str, Price] = Field(
        default_factory=dict, description="Prices by the name a route has for the model; they win over LiteLLM's list."
    )
    worst_case_price: Price = Field(
        Price(
            input=Decimal(15), output=Decimal(75), audio_minute=Decimal("0.06"), image=Decimal("0.05")
        ),
        description="What budgets count for a model whose price nobody knows.",
    )  # fmt: skip
    currency: Currency = Field("USD", description="Currency of the ledger, the report and the budgets.")
    usd_rate: Annotated[Decimal, Field(gt=0, le=1_000_000_000)] | None = Field(
        None, description="Units of llm.currency for one US dollar: LiteLLM's prices are in dollars."
    )

    @model_validator(mode="after")
    def _can_convert(self) -> Self:
        if self.currency != "USD" and self.usd_rate is None:
            raise ValueError(f"usd_rate is missing: say how many {self.currency} one US dollar is")
        for name, price in [*self.prices.items(), ("worst_case_price", self.worst_case_price)]:
            if price.currency not in ("USD", self.currency):
                raise ValueError(f"the price of {name} is in {price.currency}; give it in USD or in llm.currency")
        return self

    @property
    def rate(self) -> Decimal:
        """Units of the ledger's currency for one US dollar."""
        return Decimal(1) if self.currency == "USD" or self.usd_rate is None else self.usd_rate


class Budget(Group):
    """Limits of one account, conversation or sender, or of all together, in ``llm.currency``; null: none."""

    day: Amount | None = Field(None, description="Most that a day may cost.")
    month: Amount | None = Field(None, description="Most that a calendar month may cost.")


class BudgetSettings(Budget):
    """``day`` and ``month`` are of everything together; the others of each account, conversation, sender."""

    account: Budget = Field(Budget(), description="Of each account of a channel.")
    conversation: Budget = Field(Budget(), description="Of each conversation.")
    sender: Budget = Field(Budget(), description="Of each sender.")
    time_zone: Annotated[str, AfterValidator(_known_zone)] = Field("UTC", description="Where days and months begin.")
    wait: Duration = Field(
        timedelta(seconds=5), description="How long a call waits for room that other calls under way hold."
    )
