"""What a call may cost, and what it did cost."""

from decimal import Decimal
from typing import Any

import pytest

from pipeline.llm import listed_price
from pipeline.prices import PriceBook
from pipeline.spending import Quote, Used
from ragline.errors import ConfigurationError
from ragline.settings import LlmSettings, Settings, load_settings
from ragline.spending_settings import Price

PRICES = {"openai/own": {"input": 2, "output": "8.5", "cached": 1, "audio_minute": "0.6", "image": "0.01"}}


def book(listed: Price | None = None, **settings: Any) -> PriceBook:
    return PriceBook(LlmSettings.model_validate(settings), lambda model: listed)


def test_the_settings_price_wins_and_is_exact() -> None:
    used = Used(tokens_in=1000, tokens_out=10, tokens_cached=400, audio_seconds=90, images=2, cost=Decimal("9"))
    charge = book(prices=PRICES).charge("openai/own", used)
    exact = Decimal("0.0012") + Decimal("0.0004") + Decimal("0.000085") + Decimal("0.9") + Decimal("0.02")
    assert (charge.cost, charge.counted, charge.source) == (exact, exact, "settings")


def test_litellms_price_is_taken_in_the_currency_of_the_ledger() -> None:
    used = Used(cost=Decimal("0.0005"), price_source="litellm 1")
    charge = book(currency="RUB", usd_rate="80.5").charge("openai/listed", used)
    assert (charge.cost, charge.source) == (Decimal("0.04025"), "litellm 1")


def test_a_model_without_a_price_is_unpriced_and_counted_at_the_worst_case() -> None:
    worst = {"input": 10, "output": 100}
    charge = book(worst_case_price=worst).charge("openai/in-house", Used(1000, 100, cost=None))
    assert (charge.cost, charge.counted, charge.source) == (None, Decimal("0.02"), None)


def test_the_most_is_reckoned_by_the_price_that_will_hold() -> None:
    quote = Quote("openai/own", "answer", "text", 1000, 500)
    assert book(prices=PRICES).most(quote) == Decimal("0.00625")
    listed = Price(input=Decimal(1), output=Decimal(2))
    other = Quote("openai/listed", "answer", "text", 1000, 500)
    assert book(listed).most(other) == Decimal("0.002")
    assert book(worst_case_price={"input": 10, "output": 100}).most(other) == Decimal("0.06")
    assert book(listed, currency="RUB", usd_rate=80).most(other) == Decimal("0.16")


def test_a_free_model_is_free_and_a_length_nobody_knows_is_not() -> None:
    quote = Quote("ollama/llama3", "transcribe", "voice")
    assert book(Price()).most(quote) == 0
    assert book(Price(audio_minute=Decimal(1))).most(quote) > 0
    sound = Quote("x/listens", "transcribe", "voice", audio_seconds=60)
    assert book(Price(input=Decimal(1)), worst_case_price={"audio_minute": "0.3"}).most(sound) == Decimal("0.3")


def test_litellms_list_is_read_without_a_call() -> None:
    found = listed_price("openai/gpt-4.1-mini")
    assert found is not None
    assert (found.input, found.output, found.cached) == (Decimal("0.4"), Decimal("1.6"), Decimal("0.1"))
    heard = listed_price("openai/whisper-1")
    assert heard is not None
    assert heard.audio_minute == Decimal("0.006")
    assert listed_price("openai/in-house-7b") is None


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"RAGLINE__LLM__CURRENCY": "RUB"}, "usd_rate is missing"),
        ({"RAGLINE__BUDGET__TIME_ZONE": "Mars"}, "Europe/Moscow"),
        ({"RAGLINE__BUDGET__SENDER__DYA": "1"}, "did you mean 'day'"),
        ({"RAGLINE__LLM__PRICES": "{openai/x: {inptu: 1}}"}, "did you mean 'input'"),
        ({"RAGLINE__LLM__PRICES": "{openai/x: {input: 1, currency: EUR}}"}, "give it in USD or in llm.currency"),
    ],
)
def test_a_wrong_setting_says_what_to_do(environment: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load_settings(environment)


def test_budgets_come_from_the_environment_too() -> None:
    settings: Settings = load_settings({"RAGLINE__BUDGET__DAY": "5.5", "RAGLINE__BUDGET__SENDER__MONTH": "0.1"})
    assert (settings.budget.day, settings.budget.sender.month) == (Decimal("5.5"), Decimal("0.1"))
