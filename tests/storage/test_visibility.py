"""Who sees what and when, and the search that keeps to it without a filter in the store."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from storage.vectors.base import Hit
from storage.visibility import Scope, Visibility, visible
from storage.visible_rows import SECOND, VisibleRows, nearest_visible

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("item", "channel", "locale", "seen"),
    [
        (Visibility(), "telegram", "ru", True),
        (Visibility("draft"), None, None, False),
        (Visibility("archived"), None, None, False),
        (Visibility(valid_from=NOW), None, None, True),
        (Visibility(valid_from=NOW + HOUR), None, None, False),
        (Visibility(valid_until=NOW + HOUR), None, None, True),
        (Visibility(valid_until=NOW), None, None, False),
        (Visibility(channels=("telegram", "api")), "api", None, True),
        (Visibility(channels=("telegram",)), "widget", None, False),
        (Visibility(channels=("telegram",)), None, None, True),
        (Visibility(languages=("ru",)), None, "ru-RU", True),
        (Visibility(languages=("ru",)), None, "RU", True),
        (Visibility(languages=("ru",)), None, "run", False),
        (Visibility(languages=("pt-BR",)), None, "pt", False),
        (Visibility(languages=("pt-BR",)), None, "pt_br", True),
        (Visibility(languages=("ru",)), "api", None, True),
    ],
)
def test_the_rule(item: Visibility, channel: str | None, locale: str | None, seen: bool) -> None:
    assert visible(item, channel=channel, locale=locale, now=NOW) is seen


def test_rows_follow_the_rule_as_time_goes_by() -> None:
    dates = (None, NOW - HOUR, NOW, NOW + HOUR)
    items = [
        Visibility(status, since, until, channels, languages)
        for status, since, until, channels, languages in product(
            ("active", "draft"), dates, dates, ((), ("api",)), ((), ("ru", "en"))
        )
    ]
    rows = VisibleRows(items)
    for minutes, channel, locale in product(range(-90, 91, 30), (None, "api", "widget"), (None, "ru", "de")):
        now = NOW + timedelta(minutes=minutes)
        expected = [visible(item, channel=channel, locale=locale, now=now) for item in items]
        assert rows.mask(Scope(channel, locale), now).tolist() == expected


class Index:
    """Rows in order of nearness: 0 is the nearest, of which one in ``every`` may be seen."""

    def __init__(self, rows: int, every: int) -> None:
        self.rows, self.every, self.asked = rows, every, list[int]()

    def fetch(self, k: int) -> list[Hit]:
        self.asked.append(k)
        return [Hit(str(row), 1 - row / self.rows) for row in range(min(k, self.rows))]

    def keep(self, row: str) -> bool:
        return int(row) % self.every == 0


def test_as_many_more_are_fetched_as_cannot_be_seen() -> None:
    for every, fetched in ((1, [10]), (2, [20]), (4, [40])):
        index = Index(10_000, every)
        found = nearest_visible(index.fetch, index.keep, wanted=10, share=1 / every)
        assert [int(hit.id) for hit in found.hits] == [every * row for row in range(10)]
        assert index.asked == fetched
        assert found.floor == found.hits[-1].score


def test_a_second_fetch_where_too_few_remain_and_never_a_third() -> None:
    index = Index(10_000, 20)
    found = nearest_visible(index.fetch, index.keep, wanted=10, share=1 / 20)
    assert (index.asked, len(found.hits)) == ([40, 10 * SECOND], 8)
    assert found.floor == index.fetch(10 * SECOND)[-1].score, "what was not fetched is no nearer than the last"
    index = Index(30, 20)
    found = nearest_visible(index.fetch, index.keep, wanted=10, share=1 / 20)
    assert (index.asked, len(found.hits), found.floor) == ([40], 2, 0.0), "that was all there is"
