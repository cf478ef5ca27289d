"""Accuracy, rejection and calibration of retrieval on labelled sets, beside three simpler methods in the same run.

    python -m bench.retrieval FOLDER [--split test] [--set NAME ...] [--json FILE]

FOLDER holds one folder a set with ``kb.jsonl`` and ``queries.jsonl`` (row forms: docs/knowledge.md). Each set is put
into a base of its own, the head is trained from it as the job does, and every question goes through classify and
retrieve with the default settings. Intervals are 95%, by bootstrap over the questions. The simpler methods: the
nearest phrasing by the packaged embedding model, BM25 over phrasings, a linear support vector machine on tf-idf.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlmodel import SQLModel

import storage.models  # noqa: F401  (declares the tables)
from pipeline.search import KnowledgeSearcher
from pipeline.steps.classify import classify
from pipeline.steps.retrieve import Retrieval, retrieve
from pipeline.training import bring_up_to_date
from pipeline.turn import Turn, TurnMessage
from storage.embedder.base import Embedder, Vectors
from storage.embedder.minilm import MiniLm
from storage.index import sync
from storage.knowledge import put_items
from storage.knowledge_files import ItemRow, read_file
from storage.lexical import Features, LexicalIndex
from storage.session import Database, make_engine
from storage.vectors.memory import MemoryStore
from storage.words import stems


class Remembering:
    """The packaged model; what it has encoded once is not encoded again for the next method or the training."""

    def __init__(self, embedder: MiniLm) -> None:
        self.name, self.dimensions = embedder.name, embedder.dimensions
        self._embedder, self._known = embedder, dict[str, tuple[Vectors, Vectors]]()
        self.seconds = 0.0

    def encode_layers(self, texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        began = time.perf_counter()
        if new := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known |= zip(new, zip(*self._embedder.encode_layers(new), strict=True), strict=True)
        self.seconds += time.perf_counter() - began
        return np.stack([self._known[t][0] for t in texts]), np.stack([self._known[t][1] for t in texts])

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        return self.encode_layers(texts)[0]

    encode_queries = encode_passages


ROUTED = {"smalltalk": ("greeting", "thanks", "farewell", "smalltalk"), "human_request": ("human",)}
DRAWS, SEED = 1000, 7
RATES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
Floats = NDArray[np.float64]


@dataclass
class Answered:
    """One question with what came of it: whether the first item is right, its place among five, the confidence."""

    row: dict[str, Any]
    request: str
    first: bool
    place: int
    confidence: float
    direct: bool
    both: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", choices=("dev", "test"), default="dev", help="dev: the dev and val rows")
    parser.add_argument("--set", action="append", default=[], help="only these sets")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    splits = ("test",) if options.split == "test" else ("dev", "val")
    figures = {}
    for folder in sorted(path.parent for path in options.folder.glob("*/queries.jsonl")):
        rows = [json.loads(line) for line in (folder / "queries.jsonl").open(encoding="utf-8")]
        rows = [row for row in rows if row["split"] in splits]
        if rows and (not options.set or folder.name in options.set):
            figures[folder.name] = measure(folder, rows)
            print(json.dumps({folder.name: figures[folder.name]}, ensure_ascii=False, indent=1), flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def measure(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """All figures of one set."""
    items = list(read_file(folder / "kb.jsonl").items)
    embedder = Remembering(MiniLm(threads=1))
    with tempfile.TemporaryDirectory() as scratch:
        database = Database(make_engine(f"sqlite:///{scratch}/kb.sqlite3"))
        SQLModel.metadata.create_all(database.engine)
        put_items(database, items, source="bench")
        store = MemoryStore()
        sync(database, store, "memory", embedder, "minilm")
        began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        head = bring_up_to_date(database, embedder)
        training = {
            "seconds_encoding": round(embedder.seconds, 1),
            "seconds_training": round(time.perf_counter() - began, 1),
            "peak_mb_more": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) / 1024),
            "stored_mb": round(len(head.to_bytes()) / 1e6, 1) if head else 0,
        }
        searcher = KnowledgeSearcher(database, lambda _: store, embedder, "minilm")
        answered = [ask(row, searcher) for row in rows]
        found: dict[str, Any] = {"training": training, "ragline": summary(answered)}
        bursts = folder / "bursts.jsonl"
        if bursts.exists():
            found["ragline"]["bursts"] = measure_bursts(bursts, searcher)
        database.close()
    for name, scores in peers(items, rows, embedder).items():
        found[name] = summary([ranked(row, own) for row, own in zip(rows, scores, strict=True)], peer=True)
    return found


def ask(row: dict[str, Any], searcher: KnowledgeSearcher) -> Answered:
    """One question through the first two steps, and the threshold of the third."""
    turn = Turn(id="bench", messages=(TurnMessage(kind="text", text=row["text"]),))
    classification = classify(turn)
    found = retrieve(classification.question, searcher=searcher, k=5)
    question = classification.request == "question"
    direct = question and found.confidence >= found.direct and bool(found.passages) and found.passages[0].question
    return _answered(row, classification.request, found, bool(direct))


def _answered(row: dict[str, Any], request: str, found: Retrieval, direct: bool) -> Answered:
    ids = [passage.id for passage in found.passages]
    gold = [str(item) for item in row["gold"]]
    place = next((i for i, item in enumerate(ids) if item in gold), 99)
    both = len(gold) == 2 and set(gold) <= set(ids)
    return Answered(row, request, place == 0, place, found.confidence, direct, both)


def ranked(row: dict[str, Any], scores: dict[str, float]) -> Answered:
    """The same of a simpler method: scores by item."""
    best = sorted(scores, key=lambda item: -scores[item])[:5]
    gold = [str(item) for item in row["gold"]]
    place = next((i for i, item in enumerate(best) if item in gold), 99)
    both = len(gold) == 2 and set(gold) <= set(best)
    return Answered(row, "question", place == 0, place, scores[best[0]], False, both)


def summary(answered: Sequence[Answered], *, peer: bool = False) -> dict[str, Any]:
    """The figures of DESIGN.md section 5, fractions of 1, with [low, high] of the main ones."""
    inside = [a for a in answered if a.row["kind"] == "in"]
    outside = [a for a in answered if not a.row["gold"] and a.row["kind"] not in ROUTED]
    found: dict[str, Any] = {
        "n_in": len(inside),
        "accuracy_at_1": with_interval(inside, lambda own: float(np.mean([a.first for a in own]))),
        "recall_at_5": with_interval(inside, lambda own: float(np.mean([a.place < 5 for a in own]))),
        "mrr": round(float(np.mean([1 / (a.place + 1) if a.place < 5 else 0 for a in inside])), 4),
    }
    kinds = sorted({a.row["kind"] for a in outside})
    sure = np.array([a.confidence for a in inside])
    for kind in kinds:
        own = np.array([a.confidence for a in outside if a.row["kind"] == kind])
        found[f"auroc {kind}"] = auroc_interval(sure, own)
        found[f"recall_at_95 {kind}"] = round(float(np.mean(own < np.quantile(sure, 0.05))), 4)
    if not peer:
        asked = [*inside, *outside]
        found |= {"auroc": auroc_interval(sure, np.array([a.confidence for a in outside]))} if outside else {}
        found["calibration_error"] = calibration_error(asked)
        found["direct_rate"], found["wrong_direct_rate"] = direct_rates(inside, asked)
        found["curve"] = curve(inside, asked)
        found["routed"] = routed(answered)
    several = [a for a in answered if a.row["kind"] == "multi"]
    if several:
        found["multi_both_at_5"] = round(float(np.mean([a.both for a in several])), 4)
    for field in ("style", "lex"):
        values = sorted({a.row[field] for a in inside if field in a.row}, key=str)
        if values:
            found[f"by_{field}"] = {
                str(value): [
                    len(own := [a for a in inside if a.row.get(field) == value]),
                    round(float(np.mean([a.first for a in own])), 3),
                    round(float(np.mean([a.place < 5 for a in own])), 3),
                ]
                for value in values
            }
    return found


def with_interval(own: Sequence[Answered], figure: Callable[[Sequence[Answered]], float]) -> list[float]:
    """A figure and its 95% interval."""
    dice = np.random.default_rng(SEED)
    draws = [figure([own[i] for i in dice.integers(0, len(own), len(own))]) for _ in range(DRAWS // 4)]
    return [round(figure(own), 4), *(round(float(q), 4) for q in np.quantile(draws, (0.025, 0.975)))]


def auroc(inside: Floats, outside: Floats) -> float:
    """The chance that a question with an answer scores above one without (ties count half)."""
    order = np.sort(outside)
    below, upto = np.searchsorted(order, inside, "left"), np.searchsorted(order, inside, "right")
    return float((below + upto).mean() / 2 / len(order))


def auroc_interval(inside: Floats, outside: Floats) -> list[float]:
    dice = np.random.default_rng(SEED)
    draws = [auroc(dice.choice(inside, len(inside)), dice.choice(outside, len(outside))) for _ in range(DRAWS)]
    return [round(auroc(inside, outside), 4), *(round(float(q), 4) for q in np.quantile(draws, (0.025, 0.975)))]


def calibration_error(asked: Sequence[Answered]) -> float:
    """Mean gap of confidence and truth over 15 bins of equal mass."""
    order = sorted(asked, key=lambda a: a.confidence)
    bins = [part for part in np.array_split(np.arange(len(order)), 15) if len(part)]
    gaps = [
        abs(np.mean([order[i].confidence for i in part]) - np.mean([order[i].first for i in part])) * len(part)
        for part in bins
    ]
    return round(float(sum(gaps)) / len(order), 4)


def direct_rates(inside: Sequence[Answered], asked: Sequence[Answered]) -> tuple[float, float]:
    """The share of ``in`` answered directly, and the share of direct answers that are wrong."""
    direct = [a for a in asked if a.direct]
    wrong = float(np.mean([not a.first for a in direct])) if direct else 0.0
    return round(float(np.mean([a.direct for a in inside])), 4), round(wrong, 4)


def curve(inside: Sequence[Answered], asked: Sequence[Answered]) -> list[list[float]]:
    """The most that can be answered directly at each wrong-direct rate, whatever the threshold: [rate, share]."""
    order = sorted(asked, key=lambda a: -a.confidence)
    wrong = np.cumsum([not a.first for a in order]) / np.arange(1, len(order) + 1)
    answered = np.cumsum([a.row["kind"] == "in" for a in order]) / len(inside)
    return [[rate, round(float(answered[wrong <= rate].max(initial=0.0)), 4)] for rate in RATES]


def routed(answered: Sequence[Answered]) -> dict[str, float]:
    """The shares of small talk and of requests for a person taken as such, and of ``in`` taken for either."""
    found = {}
    for kind, requests in ROUTED.items():
        own = [a.request in requests for a in answered if a.row["kind"] == kind]
        if own:
            found[kind] = round(float(np.mean(own)), 4)
    inside = [a.request != "question" for a in answered if a.row["kind"] == "in"]
    found["in_misrouted"] = round(float(np.mean(inside)), 4)
    return found


def measure_bursts(path: Path, searcher: KnowledgeSearcher) -> dict[str, float]:
    """Accuracy on bursts: the messages joined, and the last right answer of the messages one by one."""
    bursts = [json.loads(line) for line in path.open(encoding="utf-8")]
    joined, single, early = [], [], 0
    for burst in bursts:
        texts = [message["text"] for message in burst["messages"]]
        gold = {str(item) for item in burst["gold"]} if isinstance(burst["gold"], list) else {str(burst["gold"])}
        firsts = []
        for text in ["\n".join(texts), *texts]:
            found = retrieve(text, searcher=searcher, k=5)
            firsts.append(bool(found.passages) and found.passages[0].id in gold)
            early += len(firsts) > 1 and len(firsts) <= len(texts) and found.confidence >= found.direct
        joined.append(firsts[0])
        single.append(firsts[-1])
    return {
        "joined_accuracy": round(float(np.mean(joined)), 4),
        "last_message_accuracy": round(float(np.mean(single)), 4),
        "direct_before_the_last_message": early,
    }


def peers(
    items: Sequence[ItemRow], rows: Sequence[dict[str, Any]], embedder: Embedder
) -> dict[str, list[dict[str, float]]]:
    """Scores by item of the three simpler methods, for every question."""
    texts = [(text, item.id) for item in items for text in item.questions or [item.answer or item.id]]
    asked = [row["text"] for row in rows]
    ids = sorted({item for _, item in texts})
    place = {item: i for i, item in enumerate(ids)}
    owner = np.array([place[item] for _, item in texts])

    def by_item(scores: Floats) -> dict[str, float]:
        best = np.full(len(ids), -1e9)
        np.maximum.at(best, owner, scores)
        return dict(zip(ids, best.tolist(), strict=True))

    vectors = embedder.encode_passages([text for text, _ in texts])
    found = {"minilm_nearest": [by_item(own) for own in embedder.encode_queries(asked) @ vectors.T]}
    index = LexicalIndex([Features.of(text) for text, _ in texts], whole=True)
    found["bm25"] = [by_item(index.scores(Features.of(text))[0].astype(np.float64)) for text in asked]
    if len(texts) > 2 * len(ids):
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import LinearSVC

        model = make_pipeline(TfidfVectorizer(analyzer=stems, sublinear_tf=True), LinearSVC())
        model.fit([text for text, _ in texts], owner)
        scores = model.decision_function(asked)
        found["tfidf_svc"] = [dict(zip(ids, own.tolist(), strict=True)) for own in scores]
    return found


if __name__ == "__main__":
    main()
