"""A fake Pinecone index: the data plane of one index behind one key, as its client speaks it.

Vectors are compared exactly by cosine. What is written is found, and counted, ``lag`` seconds later. The limits of the
service hold: 1,000 vectors and 2 MB a request, the dimensions of the index
(https://docs.pinecone.io/reference/api/2025-10/data-plane/upsert and its neighbours).
"""

from __future__ import annotations

import json
import time
from typing import ClassVar

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.support.server import JSON, FakeServer

API_KEY = "pc-test"
MOST_VECTORS, MOST_BYTES = 1000, 2 * 1024 * 1024
#: Vector by id; None: deleted.
Rows = dict[str, "np.ndarray | None"]


class PineconeError(Exception):
    """An error answer in the service's form."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class FakePinecone(FakeServer):
    """One index. ``lag``: seconds until a write is seen."""

    name: ClassVar[str] = "fake-pinecone"

    def __init__(self, dimension: int, *, api_key: str = API_KEY, lag: float = 0.0, metric: str = "cosine") -> None:
        super().__init__()
        self.dimension, self.api_key, self.lag, self.metric = dimension, api_key, lag, metric
        self.namespaces: dict[str, Rows] = {}
        self._unseen: list[tuple[float, str, Rows]] = []

    def routes(self) -> list[BaseRoute]:
        paths = {
            "/vectors/upsert": self._upsert,
            "/query": self._query,
            "/vectors/delete": self._delete,
            "/describe_index_stats": self._stats,
            "/namespaces": self._create,
        }
        posted = [Route(path, self._answering(answer), methods=["POST"]) for path, answer in paths.items()]
        named = Route("/namespaces/{name}", self._answering(self._namespace), methods=["GET", "DELETE"])
        return [*posted, named]

    def _answering(self, answer):  # type: ignore[no-untyped-def]
        async def respond(request: Request) -> Response:
            content = await request.body()
            try:
                if request.headers.get("api-key") != self.api_key:
                    raise PineconeError(401, 16, "Invalid API Key")
                if len(content) > MOST_BYTES:
                    raise PineconeError(400, 11, "Request size exceeds 2MB")
                with self.lock:
                    self._see()
                    return JSONResponse(answer(request, json.loads(content) if content else {}))
            except PineconeError as error:
                return JSONResponse({"code": error.code, "message": str(error), "details": []}, error.status)

        return respond

    def _see(self) -> None:
        """Show what was written long enough ago."""
        while self._unseen and self._unseen[0][0] <= time.monotonic():
            _, name, rows = self._unseen.pop(0)
            held = self.namespaces.get(name)
            if held is not None:
                held.update(rows)
                for gone in [key for key, vector in rows.items() if vector is None]:
                    held.pop(gone, None)

    def _write(self, name: str, rows: Rows) -> None:
        self.namespaces.setdefault(name, {})
        self._unseen.append((time.monotonic() + self.lag, name, rows))
        self._see()

    def _upsert(self, request: Request, body: JSON) -> JSON:
        if not 0 < len(body["vectors"]) <= MOST_VECTORS:
            raise PineconeError(400, 3, f"a request takes 1 to {MOST_VECTORS} vectors")
        rows = {row["id"]: self._unit(row["values"]) for row in body["vectors"]}
        self._write(body.get("namespace", ""), rows)
        return {"upsertedCount": len(rows)}

    def _unit(self, values: list[float]) -> np.ndarray:
        if len(values) != self.dimension:
            raise PineconeError(
                400, 3, f"Vector dimension {len(values)} does not match the dimension of the index {self.dimension}"
            )
        vector = np.array(values, dtype=np.float32)
        return vector / max(float(np.linalg.norm(vector)), 1e-12)

    def _query(self, request: Request, body: JSON) -> JSON:
        name, asked = body.get("namespace", ""), self._unit(body["vector"])
        held = self.namespaces.get(name, {})
        matches = []
        if held:
            ids = list(held)
            scores = np.stack([held[row] for row in ids]) @ asked
            best = np.argsort(-scores)[: body["topK"]]
            matches = [{"id": ids[i], "score": float(scores[i]), "values": []} for i in best]
        return {"results": [], "matches": matches, "namespace": name, "usage": {"readUnits": 1}}

    def _delete(self, request: Request, body: JSON) -> JSON:
        name = body.get("namespace", "")
        if name not in self.namespaces:
            raise PineconeError(404, 5, "Namespace not found")
        if len(body["ids"]) > MOST_VECTORS:
            raise PineconeError(400, 3, f"a request takes 1 to {MOST_VECTORS} ids")
        self._write(name, dict.fromkeys(body["ids"]))
        return {}

    def _stats(self, request: Request, body: JSON) -> JSON:
        counts = {name: {"vectorCount": len(rows)} for name, rows in self.namespaces.items()}
        total = sum(len(rows) for rows in self.namespaces.values())
        about = {"dimension": self.dimension, "metric": self.metric, "vectorType": "dense", "indexFullness": 0}
        return {"namespaces": counts, "totalVectorCount": total, **about}

    def _create(self, request: Request, body: JSON) -> JSON:
        if body["name"] in self.namespaces:
            raise PineconeError(409, 6, "Namespace already exists")
        self.namespaces[body["name"]] = {}
        return {"name": body["name"], "record_count": 0}

    def _namespace(self, request: Request, body: JSON) -> JSON:
        name = request.path_params["name"]
        if name not in self.namespaces:
            raise PineconeError(404, 5, f"Namespace {name} not found")
        if request.method == "DELETE":
            del self.namespaces[name]
            return {}
        return {"name": name, "record_count": len(self.namespaces[name])}
