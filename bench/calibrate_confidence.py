"""Fit ``pipeline/confidence.json`` on the dev and val rows of labelled question sets; test rows are never read.

    python -m bench.calibrate_confidence FOLDER...

A FOLDER holds one folder a set with ``kb.jsonl`` and ``queries.jsonl`` (row forms: docs/knowledge.md). Sets without dev
or val rows are left out. ``bench/data`` is always among them, written for this: 90 Russian passages with 300 questions
that mostly say it in other words, and 136 passages of 28 articles with 544 questions that are nearer to the text. The
packaged calibration serves bases that are too small to train a head from, so large sets are asked with three phrasings
an item. A set with answers is asked a second time as documents, without its questions. Besides each set's own
questions, questions of the other sets are asked as ones the base cannot answer, and one phrasing an item is asked word
for word.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlmodel import SQLModel

import storage.models  # noqa: F401  (declares the tables)
from pipeline.confidence import Calibration, answer_features, candidate_features, group_of
from pipeline.fitting import fit_choice, fit_logistic
from pipeline.found import Candidate
from pipeline.search import KnowledgeSearcher
from pipeline.training import operating_points
from storage.embedder import make_embedder
from storage.embedder.base import Embedder
from storage.index import sync
from storage.knowledge import put_items
from storage.knowledge_files import ItemRow, read_file
from storage.session import Database, make_engine
from storage.vectors.memory import MemoryStore

FOREIGN, PHRASINGS, MOST_ASKED = 100, 3, 900
GROUPS = ("latin", "cyrillic", "cyrillic_passage")
#: How strongly the weights of the ranking are held back. Less ranks questions and answers better too, but made direct
#: answers wrong three times as often on the dev rows of shop_ru.
PENALTY = {"latin": 1.0, "cyrillic": 1.0, "cyrillic_passage": 0.1}
OWN = Path(__file__).parent / "data"
OUTPUT = Path(__file__).parents[1] / "pipeline" / "confidence.json"


@dataclass
class Asked:
    """A question with its candidates and the ids that answer it (empty: none does)."""

    group: str
    question: str
    gold: set[str]
    candidates: list[Candidate]
    weight: float = 1.0
    #: Asked by a customer, not a phrasing of the base word for word.
    real: bool = True


def questions(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "queries.jsonl").open(encoding="utf-8")]
    skip = ("multi", "smalltalk", "human_request")
    return [row for row in rows if row["split"] in ("dev", "val") and row["kind"] not in skip]


def ask_set(
    items: Sequence[ItemRow], rows: Sequence[tuple[str, set[str], float, bool]], embedder: Embedder
) -> list[Asked]:
    with tempfile.TemporaryDirectory() as scratch:
        database = Database(make_engine(f"sqlite:///{scratch}/kb.sqlite3"))
        SQLModel.metadata.create_all(database.engine)
        put_items(database, items, source="calibration")
        store = MemoryStore()
        sync(database, store, "memory", embedder, "minilm")
        fitted = Calibration(dict.fromkeys(GROUPS, (0.0,) * 10), dict.fromkeys(GROUPS, (0.0,) * 16), {}, 1.0)
        searcher = KnowledgeSearcher(database, lambda _: store, embedder, "minilm", fitted=fitted)
        asked = []
        for text, gold, weight, real in rows:
            meant, candidates = searcher.look(text)
            if candidates:
                asked.append(Asked(group_of(meant, candidates[0]), meant, gold, candidates, weight, real))
        database.close()
        return asked


def ask_everything(folders: list[Path]) -> list[Asked]:
    embedder, dice = make_embedder("minilm"), random.Random(0)
    own = {folder: questions(folder) for folder in folders}
    asked: list[Asked] = []
    for folder in folders:
        items = list(read_file(folder / "kb.jsonl").items)
        for item in items:
            item.questions = dice.sample(item.questions, min(PHRASINGS, len(item.questions)))
        foreign = [row for other in folders if other != folder for row in own[other] if row["kind"] == "in"]
        real = dice.sample(own[folder], min(MOST_ASKED, len(own[folder])))
        rows = [(row["text"], set(row["gold"]), 1.0, True) for row in real]
        rows += [(row["text"], set(), 0.3, True) for row in dice.sample(foreign, min(FOREIGN, len(foreign)))]
        same = [(item.questions[0], {item.id}, 0.3, False) for item in items if item.questions]
        asked += ask_set(items, rows + same, embedder)
        if any(item.answer for item in items):
            documents = [ItemRow(item.id, item.answer, [], [], item.locale) for item in items]
            asked += ask_set(documents, rows, embedder)
    for folder in sorted(OWN.iterdir()):
        rows = [(row["text"], set(row["gold"]), 1.0, True) for row in questions(folder)]
        asked += ask_set(list(read_file(folder / "kb.jsonl").items), rows, embedder)
    return asked


def fit_group(
    group: str, asked: Sequence[Asked]
) -> tuple[tuple[float, ...], tuple[float, ...], list[tuple[float, bool, float]]]:
    """Ranking and answering weights of one group, and (confidence, right, weight) of what customers asked."""
    answerable = [a for a in asked if any(c.id in a.gold for c in a.candidates)]
    most = max(len(a.candidates) for a in answerable)
    width = len(candidate_features(answerable[0].candidates[0]))
    features = np.full((len(answerable), most, width), -5.0)  # as good as absent
    chosen = np.zeros(len(answerable), dtype=np.int64)
    for row, a in enumerate(answerable):
        features[row, : len(a.candidates)] = [candidate_features(c) for c in a.candidates]
        features[row, len(a.candidates) :] = features[row, : len(a.candidates)].min(axis=0) - 1.0
        chosen[row] = next(i for i, c in enumerate(a.candidates) if c.id in a.gold)
    ranking = fit_choice([features[:, :, i] for i in range(width)], chosen, penalty=PENALTY[group])
    partial = Calibration(dict.fromkeys(GROUPS, ranking), {}, {}, 1.0)
    ranked = [partial.rank(a.question, a.candidates) for a in asked]
    right = [order[0][0].id in a.gold for a, order in zip(asked, ranked, strict=True)]
    rows = [answer_features(a.question, order) for a, order in zip(asked, ranked, strict=True)]
    answering = fit_logistic(rows, right, [a.weight for a in asked], penalty=5.0)
    fitted = Calibration(dict.fromkeys(GROUPS, ranking), dict.fromkeys(GROUPS, answering), {}, 1.0)
    sure = [fitted.confidence(a.question, order) for a, order in zip(asked, ranked, strict=True)]
    return ranking, answering, [(s, r, a.weight) for s, r, a in zip(sure, right, asked, strict=True) if a.real]


def rounded(weights: Sequence[float]) -> list[float]:
    return [round(float(weight), 5) for weight in weights]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    sets = [one for folder in parser.parse_args().folder for one in folder.iterdir() if one.is_dir()]
    folders = [folder for folder in sorted(sets, key=lambda one: one.name) if questions(folder)]
    asked = ask_everything(folders)
    ranking, answering, points = {}, {}, {}
    for group in GROUPS:
        own = [a for a in asked if a.group == group]
        ranking[group], answering[group], scored = fit_group(group, own)
        right = sum(ok for _, ok, _ in scored) / max(sum(bool(a.gold) for a in own if a.real), 1)
        print(f"{group}: {len(own)} questions, best is right {right:.3f}")
        sure, ok, weight = (np.array(column) for column in zip(*scored, strict=True))
        points[group] = operating_points(sure.astype(float), ok.astype(bool), weight.astype(float))
    fitted = {
        "version": 2,
        "fitted_on": {group: sum(a.group == group for a in asked) for group in GROUPS},
        "ranking": {group: rounded(weights) for group, weights in ranking.items()},
        "answering": {group: rounded(weights) for group, weights in answering.items()},
        "operating_points": {
            group: [[threshold, round(wrong, 5)] for threshold, wrong in own] for group, own in points.items()
        },
        "grounded": 0.3,
    }
    OUTPUT.write_text(json.dumps(fitted, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
