"""Files that customers sent to a bot: getFile, then the file, streamed (https://core.telegram.org/bots/api#getfile)."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import IO, Any

import httpx

from pipeline.errors import NotUnderstood
from ragline.errors import PermanentError
from storage.download import SILENCE, DownloadFailed, NotThere, TooMuch, copy


def download(api_base: str, token: str, file_id: str, into: IO[bytes], *, most: int, within: timedelta) -> None:
    """Write a file into ``into``.

    Raises ``NotUnderstood`` (too_large, gone), ``DownloadFailed`` or, for a token that is refused, ``PermanentError``.
    No error names the address called, which holds the token.
    """
    base, until = api_base.rstrip("/"), time.monotonic() + within.total_seconds()
    with httpx.Client(timeout=SILENCE, trust_env=False) as client:
        try:
            path = _path(client.get(f"{base}/bot{token}/getFile", params={"file_id": file_id}))
            with client.stream("GET", f"{base}/file/bot{token}/{path}") as response:
                copy(response, into, most=most, until=until)
        except httpx.HTTPError as error:
            raise DownloadFailed(f"Telegram did not hand out a file ({type(error).__name__})") from None
        except httpx.InvalidURL:
            raise PermanentError("TELEGRAM_API_BASE is no address of a server") from None
        except TooMuch:
            raise NotUnderstood("too_large") from None
        except NotThere:
            raise NotUnderstood("gone") from None


def _path(response: httpx.Response) -> str:
    """The path of a file, which Telegram keeps for an hour at least."""
    try:
        read = response.json()
    except ValueError:
        read = None
    answer: dict[str, Any] = read if isinstance(read, dict) else {}
    said = str(answer.get("description") or "").lower()
    status = response.status_code
    if "too big" in said:
        raise NotUnderstood("too_large")
    if status == 429 or status >= 500 or "temporarily" in said or "ok" not in answer:
        parameters = answer.get("parameters")
        wait = parameters.get("retry_after") if isinstance(parameters, dict) else None
        seconds = float(wait) if isinstance(wait, int | float) else None
        raise DownloadFailed(f"Telegram answers getFile with HTTP {status}", seconds)
    if status in (401, 404):
        raise PermanentError(f"Telegram refuses the bot's token ({status}); check TELEGRAM_BOT_TOKEN")
    result = answer.get("result")
    path = result.get("file_path") if isinstance(result, dict) else None
    if not isinstance(path, str):
        raise NotUnderstood("gone")
    return path
