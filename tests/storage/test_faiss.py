"""What is special to Faiss on disk: generations, a journal, one writer, readers of other processes."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from storage.embedder.base import Vectors
from storage.vectors import faiss as stores
from storage.vectors import faiss_base
from storage.vectors.base import StoreUnavailable
from storage.vectors.faiss import FaissStore

DIMENSIONS = 16


def unit(count: int, seed: int = 0) -> Vectors:
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def names(start: int, stop: int) -> list[str]:
    return [f"v{i}" for i in range(start, stop)]


@pytest.fixture
def store(tmp_path: Path) -> FaissStore:
    found = FaissStore(tmp_path / "faiss")
    found.create("kb", DIMENSIONS)
    return found


def generation(tmp_path: Path) -> int:
    return int(json.loads((tmp_path / "faiss" / "kb" / "current.json").read_text())["generation"])


def test_generations_follow_each_other_and_keep_every_change(
    store: FaissStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small limits: the journal is folded often, and the base becomes a graph, with masked rows, and is built anew."""
    monkeypatch.setattr(stores, "JOURNAL", 100)
    monkeypatch.setattr(stores, "SMALL", 0)
    monkeypatch.setattr(faiss_base, "FLAT", 300)
    reader, expected, dice = FaissStore(tmp_path / "faiss"), {}, np.random.default_rng(1)
    for turn in range(12):
        ids = [f"v{i}" for i in dice.choice(800, size=120, replace=False)]
        vectors = unit(len(ids), seed=100 + turn)
        store.upsert("kb", ids, vectors)
        expected |= dict(zip(ids, vectors, strict=True))
        gone = [f"v{i}" for i in dice.choice(800, size=30, replace=False)]
        store.delete("kb", gone)
        expected = {name: vector for name, vector in expected.items() if name not in gone}
        assert store.count("kb") == reader.count("kb") == len(expected)
    store.settle("kb", len(expected))
    assert generation(tmp_path) > 3
    everything, matrix = list(expected), np.stack(list(expected.values()))
    asked = unit(20, seed=9)
    hits = 0
    for row, found in enumerate(reader.query("kb", asked, 10)):
        best = np.argsort(-(matrix @ asked[row]))[:10]
        hits += len({hit.id for hit in found} & {everything[i] for i in best})
        assert {hit.id for hit in found} <= set(everything)
    assert hits >= 0.95 * 200
    files = {path.name.partition(".")[0] for path in (tmp_path / "faiss" / "kb").glob("base-*")}
    assert files == {f"base-{generation(tmp_path)}"}, "earlier generations are removed"
    store.delete("kb", everything)
    store.settle("kb", 0)
    assert (store.count("kb"), reader.query("kb", asked[:1], 5)) == (0, [[]])


def test_a_writer_killed_in_the_middle_of_a_record_harms_nothing(store: FaissStore, tmp_path: Path) -> None:
    store.upsert("kb", names(0, 10), unit(10))
    journal = tmp_path / "faiss" / "kb" / "journal-0"
    whole = journal.read_bytes()
    store.upsert("kb", names(10, 20), unit(10, seed=1))
    for left in (len(whole) + 5, journal.stat().st_size - 3):
        torn = journal.read_bytes()[:left]
        journal.write_bytes(torn)
        assert FaissStore(tmp_path / "faiss").count("kb") == 10
    after = FaissStore(tmp_path / "faiss")
    after.upsert("kb", names(20, 22), unit(2, seed=2))
    assert FaissStore(tmp_path / "faiss").count("kb") == after.count("kb") == 12


def test_a_fold_killed_before_its_end_is_done_again(store: FaissStore, tmp_path: Path) -> None:
    store.upsert("kb", names(0, 1200), unit(1200))
    for kind in ("faiss", "ids.npy", "faiss.part"):
        (tmp_path / "faiss" / "kb" / f"base-1.{kind}").write_bytes(b"half")
    store.settle("kb", 1200)
    assert generation(tmp_path) == 1
    assert FaissStore(tmp_path / "faiss").query("kb", unit(1), 1)[0][0].id == "v0"


def test_a_second_writer_waits_and_then_says_so(store: FaissStore, tmp_path: Path) -> None:
    with (tmp_path / "faiss" / "kb" / "writer.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        hurried = FaissStore(tmp_path / "faiss", patience=0.1)
        with pytest.raises(StoreUnavailable, match="another process"):
            hurried.upsert("kb", ["a"], unit(1))
        assert hurried.count("kb") == 0, "readers do not wait for a writer"


def test_another_process_reads_while_this_one_writes(store: FaissStore, tmp_path: Path) -> None:
    """A reader that asks all the time follows six generations without one failure."""
    script = (
        "import sys, pathlib, numpy as np; from storage.vectors.faiss import FaissStore\n"
        "store = FaissStore(pathlib.Path(sys.argv[1])); asked = np.load(sys.argv[2]); n = 0\n"
        "while True:\n"
        "    [hits] = store.query('kb', asked, 3); n += 1\n"
        "    assert hits[0].id == 'v0' and hits[0].score > 0.999, hits\n"
        "    if n == 1: print('reading', flush=True)\n"
        "    if any(hit.id == 'end' for hit in hits): break\n"
        "print(n)"
    )
    first = unit(1)
    np.save(tmp_path / "asked.npy", first)
    store.upsert("kb", ["v0"], first)
    command = [sys.executable, "-c", script, str(tmp_path / "faiss"), str(tmp_path / "asked.npy")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        for turn in range(1, 7):
            store.upsert("kb", names(turn * 1100, (turn + 1) * 1100), unit(1100, seed=turn))
            store.settle("kb", turn * 1100)
        assert generation(tmp_path) == 6
        store.upsert("kb", ["end"], first * 0.9995)
        out, problems = reader.communicate(timeout=60)
    assert reader.returncode == 0, problems
    assert int(out) > 6
