"""Bring the index up to date, with the demo base where the knowledge base is empty: ``python -m ragline.demo``."""

from __future__ import annotations

import time
from functools import partial
from importlib.resources import as_file, files

from pipeline.embedders import open_embedder
from pipeline.metering import embeddings_counted
from ragline.logs import configure_logging, get_logger
from ragline.settings import get_settings
from storage import index, knowledge
from storage.knowledge_files import read_file
from storage.session import get_database
from storage.vectors.base import StoreUnavailable

log = get_logger(__name__)


def main() -> None:
    settings = get_settings()
    configure_logging(settings.log.level, settings.log.format)
    database = get_database()
    _, store = index.store_in_use(settings, database)
    for attempt in range(100):
        try:
            store.ping()
            break
        except StoreUnavailable:
            if attempt == 99:
                raise
            time.sleep(0.2)
    with database.read() as session:
        wanted = settings.knowledge.demo and knowledge.count_items(session) == 0
    if wanted:
        with as_file(files("ragline.demo").joinpath("demo.jsonl")) as path:
            knowledge.put_items(database, read_file(path).items, source="demo")
    with embeddings_counted(settings, database):
        done = index.bring_up_to_date(settings, database, partial(open_embedder, settings))
    log.info("knowledge_indexed", texts=done, demo=wanted)


if __name__ == "__main__":
    main()
