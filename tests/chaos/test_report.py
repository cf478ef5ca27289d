"""The judge of a chaos run, on made-up runs."""

from dataclasses import replace

import pytest

from tests.acceptance.topics import answer
from tests.chaos.plan import make_plan
from tests.chaos.report import Asked, Exposure, Kill, Row, Seen, Shown, Trouble, judge

NOTHING = Exposure(frozenset(), 0, 0)
#: Two questions of one chat and one of another, each answered once and in order.
WELL = Seen(
    asked=[Asked(1, 0, 10, True), Asked(1, 1, 11, True), Asked(2, 0, 12, True)],
    shown=[Shown(1, answer(0), 20), Shown(1, answer(1), 21), Shown(2, answer(0), 20)],
    rows=[
        Row("a", 1, answer(0), "sent", False),
        Row("b", 1, answer(1), "sent", False),
        Row("c", 2, answer(0), "sent", False),
    ],
    stored=3,
    turns={"answered": 3},
    repeated=0,
    kills=[],
    exposure=NOTHING,
)
TWICE = [*WELL.shown, Shown(2, answer(0), 25)]
RESENT = [*WELL.rows[:2], Row("c", 2, answer(0), "sent", True)]


def test_a_good_run_has_no_violation() -> None:
    report = judge(WELL)
    assert (report.answered, report.violations) == (3, [])


@pytest.mark.parametrize(
    ("seen", "violations"),
    [
        (replace(WELL, shown=WELL.shown[:2]), ["1 lost"]),
        (replace(WELL, shown=TWICE), ["1 doubled outside the ambiguous"]),
        (replace(WELL, shown=TWICE, rows=RESENT), ["1 ambiguous beyond the bound"]),
        (replace(WELL, shown=TWICE, rows=RESENT, exposure=Exposure(frozenset("a"), 0, 0)),
         ["1 ambiguous beyond the bound"]),
        (replace(WELL, shown=TWICE, rows=RESENT, exposure=Exposure(frozenset("c"), 0, 0)), []),
        (replace(WELL, shown=TWICE, rows=RESENT, exposure=Exposure(frozenset(), 1, 0)), []),
        (replace(WELL, shown=[*TWICE, TWICE[-1]], rows=RESENT, exposure=Exposure(frozenset("c"), 0, 0)),
         ["1 doubled outside the ambiguous"]),
        (replace(WELL, shown=[Shown(1, answer(0), 22), *WELL.shown[1:]]), ["1 out of order"]),
        (replace(WELL, shown=[*WELL.shown, Shown(1, "Sorry", 30)]), ["1 texts nobody expected"]),
        (replace(WELL, shown=[*WELL.shown, Shown(3, answer(0), 30)]), ["1 texts nobody expected"]),
        (replace(WELL, turns={"answered": 2, "failed": 1}), ["1 failed turns"]),
        (replace(WELL, repeated=2), ["2 steps done twice"]),
        (replace(WELL, kills=[Kill("beat", 10, None)]), ["1 processes that did not come back"]),
        (replace(WELL, asked=[*WELL.asked, Asked(2, 1, 13, False)]), ["1 not accepted"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(seen: Seen, violations: list[str]) -> None:
    assert judge(seen).violations == violations


def test_a_row_left_for_a_person_is_held_and_not_lost() -> None:
    rows = [*WELL.rows[:2], Row("c", 2, answer(0), "ambiguous", True)]
    seen = replace(WELL, shown=WELL.shown[:2], rows=rows, turns={"answered": 2, "failed": 1})
    report = judge(replace(seen, exposure=Exposure(frozenset("c"), 0, 0)))
    assert (report.held, report.lost, report.violations) == (1, 0, [])


def test_recovery_counts_from_the_process_that_is_back() -> None:
    seen = replace(WELL, kills=[Kill("worker-io", 11.5, 15), Kill("beat", 13, 14)])
    report = judge(replace(seen, troubles=[Trouble("kill worker-io", 11.5, 15)]))
    assert report.recovery["max"] == report.recovery_alone["max"] == 5
    assert report.interruption["max"] == 8.5


def test_a_plan_is_its_seed() -> None:
    made = make_plan(3, messages=300, kills=10, flushes=1, rate=7)
    assert made == make_plan(3, messages=300, kills=10, flushes=1, rate=7)
    assert made != make_plan(4, messages=300, kills=10, flushes=1, rate=7)
    assert len({(say.chat, say.topic) for say in made.says}) == 300
    assert sum(blow.kind == "kill" for blow in made.blows) == 10
    assert sum(blow.kind == "flush" for blow in made.blows) == 1
