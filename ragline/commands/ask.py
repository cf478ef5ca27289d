"""``ragline ask``."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.llm import listed_price, make_language_model
from pipeline.metering import Spending, metered
from pipeline.run import ask as answer
from pipeline.search import make_searcher
from ragline.commands.output import AsJson, console, plain_errors, print_json, print_table
from ragline.commands.services import services
from storage.session import get_database
from storage.spending import Payer

app = typer.Typer(add_completion=False)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    channel: Annotated[str | None, typer.Option(help="As a customer of this channel.")] = None,
    locale: Annotated[str | None, typer.Option(help="As a customer whose channel says this language.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask one question and see how it is answered. Nothing is sent, and nothing stored but what a model cost."""
    with plain_errors(), services("database", "chroma") as settings:
        searcher = make_searcher(settings, get_database())
        searcher.warm_up()
        spending = Spending(get_database(), settings, listed_price)
        configured = make_language_model(settings)
        model = metered(configured, spending.meter(Payer(channel=channel))) if configured else None
        currency = settings.llm.currency
        found = answer(question, settings=settings, searcher=searcher, model=model, channel=channel, locale=locale)
    if as_json:
        print_json({**found.model_dump(mode="json"), "currency": currency})
        return
    console.print(found.answer, markup=False, highlight=False)
    for number, option in enumerate(found.options, 1):
        console.print(f"{number}. {option.title}", markup=False, highlight=False)
    console.print(f"\n{found.mode}, confidence {found.confidence:.2f}", style="bold")
    for cited in found.citations:
        place = ", ".join(part for part in (cited.source, f"page {cited.page}" if cited.page else None) if part)
        console.print(f"{cited.title} ({place})" if place else cited.title, markup=False, highlight=False)
    print_table(
        ("score", "item", "question"),
        ((f"{p.score:.3f}", p.id, p.question or p.answer[:80]) for p in found.passages),
        empty="No passages.",
    )
    print_table(
        ("step", "ms", "tokens in", "tokens out", f"cost, {currency}"),
        ((s.name, f"{s.ms:.1f}", s.tokens_in, s.tokens_out, s.cost) for s in found.steps),
        empty="",
    )
