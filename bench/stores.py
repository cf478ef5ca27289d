"""Vector stores from 10,000 to 300,000 rows, the encoder beside plain torch, and reindexing beside the bare encoder.

    python -m bench.stores growth [--rows 10000 30000 100000 300000] [--stores chroma faiss] [--hidden 0.1]
    python -m bench.stores encoder [--texts 200]
    python -m bench.stores reindex [--rows 15000] [--stores chroma faiss]

``growth`` stores synthetic vectors (384 dimensions, 2,000 topics) and asks for the 50 nearest as retrieval does, with
the visibility rules on: a share of the items is limited to another channel. It prints a table and draws it as
``growth.svg``. ``encoder`` compares one query's encoding, one thread each. All figures are medians.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from bench.kb_import import WORDS
from ragline.clock import utcnow
from ragline.commands.services import chroma_answers
from ragline.settings import Settings
from ragline.stack.parts import chroma_part
from ragline.stack.ports import free_port
from storage import index, knowledge, migrate
from storage.embedder import make_embedder
from storage.embedder.base import Vectors
from storage.embedder.minilm import model_folder
from storage.knowledge_files import ItemRow
from storage.session import Database, make_engine
from storage.vectors import make_store
from storage.visibility import Scope, Visibility
from storage.visible_rows import VisibleRows, nearest_visible

DIMENSIONS, NEAREST, ASKED = 384, 50, 200


@contextmanager
def chroma(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A Chroma server: its address and its process."""
    port = free_port()
    part = chroma_part(folder, port)
    process = subprocess.Popen(part.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not chroma_answers(f"http://127.0.0.1:{port}")():
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def synthetic(rows: int, seed: int) -> Vectors:
    """Vectors around topics, as texts have them: evenly spread ones are harder than any text."""
    dice = np.random.default_rng(seed)
    topics = np.random.default_rng(0).normal(size=(2000, DIMENSIONS)).astype(np.float32)
    found = topics[dice.integers(0, len(topics), rows)]
    found += 0.8 * dice.normal(size=(rows, DIMENSIONS)).astype(np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def visible_rows(rows: int, hidden: float) -> VisibleRows:
    """Items of which that share is limited to a channel that does not ask."""
    limited, free = Visibility(channels=("widget",)), Visibility()
    dice = np.random.default_rng(3).random(rows)
    return VisibleRows([limited if one < hidden else free for one in dice])


def growth(sizes: list[int], names: list[str], hidden: float) -> list[dict[str, object]]:
    table: list[dict[str, object]] = []
    asked = synthetic(ASKED, seed=1)
    everything = np.concatenate(
        [synthetic(min(50_000, max(sizes) - at), at + 7) for at in range(0, max(sizes), 50_000)]
    )
    seen = visible_rows(max(sizes), hidden).mask(Scope("telegram"), utcnow())
    for name in names:
        with tempfile.TemporaryDirectory() as scratch, chroma(Path(scratch)) as (url, server):
            store = make_store(name, Settings.model_validate({"data": scratch, "chroma_url": url}))
            store.create("kb-growth", DIMENSIONS)
            stored, spent = 0, 0.0
            for size in sorted(sizes):
                began = time.perf_counter()
                for start in range(stored, size, 1024):
                    rows = range(start, min(size, start + 1024))
                    store.upsert("kb-growth", [str(i) for i in rows], everything[rows.start : rows.stop])
                store.settle("kb-growth", size)
                spent, stored = spent + time.perf_counter() - began, size
                times, hits, most = [], 0, 0
                for row in range(ASKED):
                    began = time.perf_counter()
                    found = nearest_visible(
                        lambda k, ask=store.query, one=asked[row : row + 1]: ask("kb-growth", one, k)[0],  # type: ignore[misc]
                        lambda name: bool(seen[int(name)]), wanted=NEAREST, share=1 - hidden,
                    )  # fmt: skip
                    times.append(1000 * (time.perf_counter() - began))
                    exact = np.where(seen[:size], everything[:size] @ asked[row], -2)
                    best = np.argpartition(-exact, NEAREST)[:NEAREST].tolist()
                    hits, most = hits + len({hit.id for hit in found.hits} & {str(i) for i in best}), most + NEAREST
                line: dict[str, object] = {
                    "store": name, "rows": size, "ms_p50": round(statistics.median(times), 2),
                    "ms_p95": round(statistics.quantiles(times, n=20)[-1], 2), "recall_at_50": round(hits / most, 3),
                    "built_s": round(spent, 1),
                    "server_mb": round(server.memory_info().rss / 1e6) if name == "chroma" else 0,
                    "process_mb": round(psutil.Process().memory_info().rss / 1e6),
                    "disk_mb": round(sum(p.stat().st_size for p in Path(scratch).rglob("*") if p.is_file()) / 1e6),
                }  # fmt: skip
                print(json.dumps(line), flush=True)
                table.append(line)
            store.close()
    return table


def plot(table: list[dict[str, object]], path: Path) -> None:
    """Query time against rows, both on logarithmic axes, as SVG."""
    width, height, edge = 560, 320, 60
    points = [(float(str(line["rows"])), float(str(line["ms_p50"]))) for line in table]
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    bottom, top = 0.1, 10 ** np.ceil(np.log10(max(y for _, y in points)))

    def place(x: float, y: float) -> tuple[float, float]:
        across = np.log(x / low) / np.log(high / low) if high > low else 0.5
        return edge + across * (width - 2 * edge), height - edge - np.log(y / bottom) / np.log(top / bottom) * (
            height - 2 * edge
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{width / 2}" y="20" text-anchor="middle">The 50 nearest of one query, median ms</text>',
    ]
    for decade in range(int(np.log10(bottom)), int(np.log10(top)) + 1):
        _, y = place(low, 10.0**decade)
        parts.append(f'<line x1="{edge}" x2="{width - edge}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{edge - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**decade:g}</text>')
    for rows in sorted({x for x, _ in points}):
        x, _ = place(rows, bottom)
        parts.append(f'<text x="{x:.1f}" y="{height - edge + 18}" text-anchor="middle">{rows:,.0f}</text>')
    for colour, name in zip(
        ("#1f77b4", "#d62728", "#2ca02c", "#9467bd"), dict.fromkeys(str(line["store"]) for line in table), strict=False
    ):
        own = [place(float(str(line["rows"])), float(str(line["ms_p50"]))) for line in table if line["store"] == name]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in own)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{line}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in own]
        parts.append(f'<text x="{own[-1][0] + 6:.1f}" y="{own[-1][1] - 6:.1f}" fill="{colour}">{name}</text>')
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")


def made_up(count: int) -> list[str]:
    dice, words = random.Random(0), WORDS.split()
    return [" ".join(dice.choices(words, k=dice.randint(4, 14))) + f" {number}" for number in range(count)]


def encoder(count: int) -> None:
    """One query by plain torch and by ONNX Runtime, in turn, so that both meet the same load."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    plain = SentenceTransformer(str(model_folder()), device="cpu", local_files_only=True)
    ours = make_embedder("minilm", threads=1)
    times: dict[str, list[float]] = {"torch": [], "onnx": []}
    cosines = []
    for text in made_up(count + 10):
        began = time.perf_counter()
        expected = plain.encode([text], normalize_embeddings=True, show_progress_bar=False)
        middle = time.perf_counter()
        found = ours.encode_queries([text])
        times["torch"].append(1000 * (middle - began))
        times["onnx"].append(1000 * (time.perf_counter() - middle))
        cosines.append(float((found @ np.asarray(expected).T).item()))
    torch_ms, onnx_ms = (statistics.median(times[kind][10:]) for kind in ("torch", "onnx"))
    print(
        json.dumps(
            {
                "torch_ms": round(torch_ms, 2),
                "onnx_ms": round(onnx_ms, 2),
                "ratio": round(onnx_ms / torch_ms, 3),
                "worst_cosine": round(min(cosines), 6),
            }
        )
    )


def reindex(rows: int, names: list[str], runs: int) -> None:
    """Texts a second of ``reindex`` and of the encoder alone before and after it; and the ratio of their CPU seconds,
    the server's included, which a busy machine does not disturb.
    """
    texts, model = made_up(rows), make_embedder("minilm")

    def bare() -> tuple[float, float]:
        began, used = time.perf_counter(), time.process_time()
        for start in range(0, rows, index.BATCH):
            model.encode_passages(texts[start : start + index.BATCH])
        return time.perf_counter() - began, time.process_time() - used

    model.encode_passages(texts[:256])
    for name in names:
        ratios = []
        with tempfile.TemporaryDirectory() as scratch, chroma(Path(scratch)) as (url, server):
            settings = Settings.model_validate({"data": scratch, "chroma_url": url})
            migrate.upgrade(settings.database)
            database, store = Database(make_engine(settings.database)), make_store(name, settings)
            items = [ItemRow(str(number), "x", [text]) for number, text in enumerate(texts)]
            knowledge.put_items(database, items, source="bench")
            for _ in range(runs):
                before = bare()
                began, used = time.perf_counter(), time.process_time() + cpu_of(server)
                index.reindex(database, store, name, model)
                took, used = time.perf_counter() - began, time.process_time() + cpu_of(server) - used
                after = bare()
                encoding, cpu = (before[0] + after[0]) / 2, (before[1] + after[1]) / 2
                ratios.append(encoding / took)
                line = {"store": name, "texts_s": round(rows / took), "bare_s": round(rows / encoding)}
                print(
                    json.dumps({**line, "ratio": round(ratios[-1], 3), "cpu_ratio": round(cpu / used, 3)}), flush=True
                )
            database.close()
            store.close()
        print(json.dumps({"store": name, "median_ratio": round(statistics.median(ratios), 3)}), flush=True)


def cpu_of(server: psutil.Process) -> float:
    """CPU seconds a process has used."""
    times = server.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["growth", "encoder", "reindex"])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 30_000, 100_000, 300_000])
    parser.add_argument("--stores", nargs="+", default=["chroma", "faiss"])
    parser.add_argument("--hidden", type=float, default=0.1, help="share of rows hidden by visibility")
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("growth.svg"))
    options = parser.parse_args()
    if options.what == "growth":
        plot(growth(options.rows, options.stores, options.hidden), options.output)
    elif options.what == "encoder":
        encoder(options.texts)
    else:
        reindex(options.rows[0] if len(options.rows) == 1 else 15_000, options.stores, options.runs)


if __name__ == "__main__":
    main()
