"""Fit ``pipeline/confidence.json`` on the dev and val rows of labelled question sets; test rows are never read.

    python -m bench.calibrate_confidence FOLDER

FOLDER holds one folder a set with ``kb.jsonl`` and ``queries.jsonl`` (row forms: docs/knowledge.md). Sets without dev
or val rows are left out. Each set counts the same. Besides each set's own questions, questions of the other sets are
asked as ones the base cannot answer, and one phrasing an item is asked word for word.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sqlmodel import SQLModel

import storage.models  # noqa: F401  (declares the tables)
from pipeline.confidence import Calibration, answer_features, candidate_features
from pipeline.search import Candidate, KnowledgeSearcher
from storage.embedder import make_embedder
from storage.index import sync
from storage.knowledge import put_items
from storage.knowledge_files import read_file
from storage.session import Database, make_engine
from storage.vectors.memory import MemoryStore

FOREIGN = 150
OUTPUT = Path(__file__).parents[1] / "pipeline" / "confidence.json"


@dataclass
class Asked:
    """A question with its candidates and the ids that answer it (empty: none does)."""

    source: str
    question: str
    gold: set[str]
    candidates: list[Candidate]
    weight: float = 1.0


def questions(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "queries.jsonl").open(encoding="utf-8")]
    skip = ("multi", "smalltalk", "human_request")
    return [row for row in rows if row["split"] in ("dev", "val") and row["kind"] not in skip]


def ask_everything(folders: list[Path]) -> list[Asked]:
    embedder = make_embedder("minilm")
    dice = random.Random(0)
    own = {folder: questions(folder) for folder in folders}
    asked: list[Asked] = []
    for folder in folders:
        with tempfile.TemporaryDirectory() as scratch:
            database = Database(make_engine(f"sqlite:///{scratch}/kb.sqlite3"))
            SQLModel.metadata.create_all(database.engine)
            items = read_file(folder / "kb.jsonl").items
            put_items(database, items, source="calibration")
            store = MemoryStore()
            sync(database, store, "memory", embedder, "minilm")
            searcher = KnowledgeSearcher(database, lambda _, store=store: store, embedder, "minilm")
            foreign = [row for other in folders if other != folder for row in own[other] if row["kind"] == "in"]
            rows = [(row["text"], set(row["gold"]), 1.0) for row in own[folder]]
            rows += [(row["text"], set(), 0.5) for row in dice.sample(foreign, min(FOREIGN, len(foreign)))]
            rows += [(item.questions[0], {item.id}, 0.3) for item in items if item.questions]
            asked += [Asked(folder.name, text, gold, searcher.search(text), weight) for text, gold, weight in rows]
            database.close()
    sizes = {name: sum(a.weight for a in asked if a.source == name) for name in {a.source for a in asked}}
    for one in asked:
        one.weight *= 1000 / sizes[one.source]
    return asked


def fit(features: list[list[float]], labels: list[bool], weights: list[float]) -> tuple[float, ...]:
    model = LogisticRegression(C=10.0, max_iter=5000)
    model.fit(np.asarray(features), np.asarray(labels), sample_weight=np.asarray(weights))
    return tuple(round(float(w), 6) for w in [*model.coef_[0], model.intercept_[0]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folders = [f for f in sorted(parser.parse_args().folder.iterdir()) if f.is_dir() and questions(f)]
    asked = ask_everything(folders)

    answerable = [a for a in asked if a.gold]
    features = [candidate_features(a.question, c) for a in answerable for c in a.candidates]
    labels = [c.id in a.gold for a in answerable for c in a.candidates]
    ranking = fit(features, labels, [a.weight for a in answerable for _ in a.candidates])

    partial = Calibration(ranking, (), ((1.0, 0.0),), 1.0)
    ranked = {id(a): partial.rank(a.question, a.candidates) for a in asked}
    usable = [a for a in asked if a.candidates]
    right = [ranked[id(a)][0][0].id in a.gold for a in usable]
    answering = fit([answer_features(a.question, ranked[id(a)]) for a in usable], right, [a.weight for a in usable])

    fitted = Calibration(ranking, answering, ((1.0, 0.0),), 1.0)
    scored = [(fitted.confidence(a.question, ranked[id(a)]), ok, a) for a, ok in zip(usable, right, strict=True)]
    points = []
    for threshold in np.round(np.arange(0.5, 1.0, 0.01), 2):
        rates = []
        for folder in folders:
            direct = [ok for p, ok, a in scored if a.source == folder.name and a.weight and p >= threshold]
            rates.append(1 - float(np.mean(direct)) if direct else 0.0)
        # The median set: one with many near misses would otherwise silence the bases that have few.
        points.append((float(threshold), round(float(np.median(rates)), 5)))
    OUTPUT.write_text(
        json.dumps(
            {
                "version": 1,
                "fitted_on": {f.name: sum(a.source == f.name for a in asked) for f in folders},
                "ranking": ranking,
                "answering": answering,
                "operating_points": points,
                "grounded": 0.2,
            },
            indent=1,
        )
        + "\n",
        encoding="utf-8",
    )
    direct_from = Calibration(ranking, answering, tuple(points), 0.2).thresholds(0.02).direct
    print(f"direct from {direct_from}")
    for folder in folders:
        mine = [(p, ok, a) for p, ok, a in scored if a.source == folder.name and a.question]
        inside = [(p, ok) for p, ok, a in mine if a.gold]
        outside = [p for p, _, a in mine if not a.gold]
        sent = [(ok, a) for p, ok, a in mine if p >= direct_from]
        print(
            f"{folder.name:14} accuracy@1 {np.mean([ok for _, ok in inside]):.3f}  "
            f"direct {np.mean([p >= direct_from for p, _ in inside]):.3f}  "
            f"wrong direct {np.mean([not ok for ok, _ in sent]):.3f}  "
            f"out of scope over the threshold {np.mean([p >= direct_from for p in outside]):.3f}"
        )


if __name__ == "__main__":
    main()
