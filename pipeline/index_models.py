"""The embedding models of the indexes: a search asks each index with the model that made it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass

from ragline.errors import RaglineError
from ragline.logs import get_logger
from storage.embedder.base import Embedder
from storage.index import LiveIndex, check_embedder, weights_of

#: Seconds after which a model that could not be loaded is tried again.
PATIENCE = 30.0
log = get_logger(__name__)


@dataclass(frozen=True)
class _Loading:
    began: float
    model: Future[Embedder]

    def is_over(self) -> bool:
        """Whether it failed some while ago."""
        failed = self.model.done() and self.model.exception() is not None
        return failed and time.monotonic() - self.began > PATIENCE


class IndexModels:
    """Models by name, each loaded once and in the background, so that the one in use answers meanwhile. Thread-safe."""

    def __init__(self, first: Embedder, load: Callable[[LiveIndex], Embedder], setting: str) -> None:
        """``first`` is loaded already; ``load`` opens the model of an index; ``setting``: what to reindex with."""
        self._models = {weights_of(first.name): first}
        self._load, self._setting = load, setting
        self._loading: dict[str, _Loading] = {}
        self._lock = threading.Lock()

    def get(self, index: LiveIndex) -> Embedder | None:
        """The model of an index; None while it is being loaded, and where it cannot be."""
        with self._lock:
            known = self._models.get(weights_of(index.embedder))
        if known is not None:
            return known
        loading = self._begin(index)
        return loading.result() if loading.done() and loading.exception() is None else None

    def wait(self, index: LiveIndex) -> Embedder:
        """The model of an index. Raises :class:`~ragline.errors.ConfigurationError` where it cannot be loaded here."""
        with self._lock:
            known = self._models.get(weights_of(index.embedder))
        return known if known is not None else self._begin(index).result()

    def keep(self, names: Collection[str]) -> None:
        """Let go of all other models."""
        with self._lock:
            kept = {weights_of(name) for name in names}
            self._models = {name: model for name, model in self._models.items() if name in kept}

    def _begin(self, index: LiveIndex) -> Future[Embedder]:
        with self._lock:
            loading = self._loading.get(index.embedder)
            if loading is None or loading.is_over():
                loading = self._loading[index.embedder] = _Loading(time.monotonic(), Future())
                work = threading.Thread(target=self._open, args=(index, loading.model), name="model", daemon=True)
                work.start()
            return loading.model

    def _open(self, index: LiveIndex, found: Future[Embedder]) -> None:
        try:
            model = self._load(index)
            check_embedder(index, model, self._setting)
        except RaglineError as error:
            log.warning("index_model_not_loaded", model=index.embedder, error=str(error))
            found.set_exception(error)
        except BaseException as error:
            found.set_exception(error)
            raise
        else:
            log.info("index_model_loaded", model=model.name)
            with self._lock:
                self._models[weights_of(model.name)] = model
                del self._loading[index.embedder]
            found.set_result(model)
