"""``/api/v1/admin``: what the command line does, for programs. HTTP Basic: user ``admin``, RAGLINE_ADMIN_PASSWORD."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.security import HTTPBasic
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr

from ingress.channels.base import secret_matches
from ragline.logs import get_logger
from storage import replay
from storage.replay import Wish
from storage.session import Database

log = get_logger(__name__)


class ReplayRequest(BaseModel):
    """Which turns, and how. Without ids the filters select among the failed ones."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[str], Field(max_length=1000)] = []
    failed: bool = False
    since: AwareDatetime | None = None
    channel: str | None = None
    from_step: Literal["understand", "classify", "retrieve", "generate", "deliver"] | None = None
    force: bool = False
    ambiguous: bool = False
    dry_run: bool = False


def routes(password: SecretStr | None, database: Database) -> APIRouter:
    """Without a password everybody is refused."""

    def authorise(request: Request) -> None:
        if not secret_matches(_password(request.headers.get("authorization", "")), password):
            raise HTTPException(
                401, "the admin password is missing or wrong", {"WWW-Authenticate": 'Basic realm="Ragline"'}
            )

    guards = [Depends(authorise), Depends(HTTPBasic(auto_error=False))]
    router = APIRouter(prefix="/api/v1/admin", tags=["admin"], dependencies=guards)

    @router.post("/replay")
    async def post_replay(wanted: ReplayRequest) -> dict[str, Any]:
        """Ask for replays, as `ragline replay --no-wait` does; the workers do them."""
        if not (wanted.ids or wanted.failed or wanted.since or wanted.channel):
            raise HTTPException(422, "say which: ids, failed, since or channel")
        wish = Wish(wanted.from_step, wanted.force, wanted.ambiguous, wanted.dry_run)

        def run() -> list[replay.Verdict]:
            with database.read() as session:
                found = replay.find(
                    session,
                    ids=wanted.ids,
                    failed=wanted.failed or not wanted.ids,
                    since=wanted.since,
                    channel=wanted.channel,
                )
            verdicts = []
            for turn_id in found:
                with database.write() as session:
                    verdicts.append(replay.request(session, turn_id, wish))
            return verdicts

        verdicts = await asyncio.to_thread(run)
        taken = sum(verdict.from_step is not None for verdict in verdicts)
        log.info("replay_requested", matched=len(verdicts), replayed=0 if wish.dry_run else taken)
        return {
            "matched": len(verdicts),
            "replayed": 0 if wish.dry_run else taken,
            "skipped": len(verdicts) - taken,
            "items": [verdict.shown for verdict in verdicts],
        }

    return router


def _password(header: str) -> str | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password if user == "admin" else None
