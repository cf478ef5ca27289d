"""A fake of Azure OpenAI: the deployment is in the path, the key in ``api-key``, the version in the query."""

from __future__ import annotations

from typing import ClassVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tests.support.fake_openai import FakeOpenAI, OpenAIError
from tests.support.server import JSON


class FakeAzure(FakeOpenAI):
    """``models`` are the names of deployments. Faults are bound to a deployment by `chat=`."""

    name: ClassVar[str] = "fake-azure"

    @property
    def api_base(self) -> str:
        return self.url

    def routes(self) -> list[BaseRoute]:
        root = "/openai/deployments/{deployment}"
        return [
            Route(f"{root}/chat/completions", self._deployed_chat, methods=["POST"]),
            Route(f"{root}/embeddings", self._deployed_embeddings, methods=["POST"]),
            Route(f"{root}/audio/transcriptions", self._transcriptions, methods=["POST"]),
        ]

    def _check(self, request: Request, model: str) -> None:
        if request.headers.get("api-key") != self.api_key:
            raise OpenAIError(401, "Access denied due to invalid subscription key.", "401")
        if not request.query_params.get("api-version"):
            raise OpenAIError(404, "Resource not found", "404")
        if self.models is not None and request.path_params["deployment"] not in self.models:
            raise OpenAIError(404, "The API deployment for this resource does not exist.", "DeploymentNotFound")

    async def _deployed_chat(self, request: Request) -> Response:
        return await self._serve(request, "chat", await self._body(request), self._make_chat)

    async def _deployed_embeddings(self, request: Request) -> Response:
        return await self._serve(request, "embeddings", await self._body(request), self._make_embeddings)

    async def _body(self, request: Request) -> JSON:
        return {**await request.json(), "model": request.path_params["deployment"]}
