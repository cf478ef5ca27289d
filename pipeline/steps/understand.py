"""Understand: the files of a turn's messages as text. Only for turns that have files; each file is paid for once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO

from pipeline.envelope import MediaRef
from pipeline.errors import BudgetSpent, NoModel, NotUnderstood
from pipeline.handlers import TOGETHER, handler
from pipeline.handlers.base import File, FileKind, OnlyHeard, Tools, usage_of, with_cost
from pipeline.turn import Usage
from ragline.logs import get_logger
from storage.sniff import sniff
from storage.understanding import Part, Problem

#: Files that one call reads at most.
MOST_TOGETHER = 10
log = get_logger(__name__)


@dataclass
class Asked:
    """A message with files, and what is known of them: None, or a part with a problem, is still to be read."""

    id: str
    kind: FileKind
    media: Sequence[MediaRef]
    parts: list[Part | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parts += [None] * (len(self.media) - len(self.parts))

    def todo(self) -> list[int]:
        """Positions of the files to be read. A replay reads again what could not be read, but pays for silence once."""
        return [n for n, part in enumerate(self.parts) if part is None or part.problem not in (None, "silent")]


@dataclass(frozen=True)
class _Fetched:
    message: Asked
    position: int
    file: File
    content: str


#: Writes a file of a message into a file on disk. Raises ``NotUnderstood`` or a ``TransientError``.
Fetch = Callable[[Asked, int, IO[bytes]], None]
#: Stores what the files of a message say.
Keep = Callable[[Asked], None]


def understand(messages: Sequence[Asked], *, tools: Tools, fetch: Fetch, keep: Keep) -> Usage:
    """Read what is still to be read; ``keep`` is called after each call that may have cost something.

    Returns what all of it cost. Raises ``ProviderUnavailable``, ``ProviderRefused`` or another ``TransientError``: what
    was kept by then is not read, or paid for, again.
    """
    spent: list[Part] = []
    with tempfile.TemporaryDirectory(prefix="ragline-") as folder:
        fetched = [one for message in messages for one in _fetched(message, Path(folder), tools, fetch, keep)]
        for group in _groups(fetched):
            failed: Exception | None = None
            try:
                parts = _read(group, tools)
            except OnlyHeard as partly:
                parts, failed = [partly.part], partly.error
            for one, part in zip(group, parts, strict=True):
                known = one.file.known
                one.message.parts[one.position] = with_cost(part, usage_of(known), usage_of(part)) if known else part
            for message in {one.message.id: one.message for one in group}.values():
                keep(message)
            if failed:
                raise failed
            spent += parts
    return _usage(spent)


def _fetched(message: Asked, folder: Path, tools: Tools, fetch: Fetch, keep: Keep) -> Iterator[_Fetched]:
    """The files of a message on disk; why one is not is kept with the message."""
    for position in message.todo():
        media, known = message.media[position], message.parts[position]
        kind = _kind(media, message)
        path = folder / f"{message.id}-{position}"
        try:
            _check(media, tools)
            with path.open("wb") as file:
                fetch(message, position, file)
            found = sniff(path, media.name)
            if found.content not in tools.settings.kinds:
                raise NotUnderstood("type")
        except NotUnderstood as error:
            message.parts[position] = _failed(kind, media.name, error.problem, tools)
            keep(message)
            continue
        yield _Fetched(message, position, File(path, kind, media.name, found.parser, message.id, known), found.content)


def _check(media: MediaRef, tools: Tools) -> None:
    """What the channel says of a file spares a download that would be refused anyway."""
    if media.size is not None and media.size > tools.settings.largest * 2**20:
        raise NotUnderstood("too_large")
    if media.duration is not None and media.duration > tools.settings.longest.total_seconds():
        raise NotUnderstood("too_long")


def _groups(fetched: Sequence[_Fetched]) -> Iterator[list[_Fetched]]:
    """Files read by one call: all pictures of a turn, an album or not, and everything else one by one."""
    for content in TOGETHER:
        same = [one for one in fetched if one.content == content]
        for start in range(0, len(same), MOST_TOGETHER):
            yield same[start : start + MOST_TOGETHER]
    for one in fetched:
        if one.content not in TOGETHER:
            yield [one]


def _read(group: Sequence[_Fetched], tools: Tools) -> list[Part]:
    files = [one.file for one in group]
    try:
        return handler(group[0].content)(files, tools)
    except NotUnderstood as error:
        problem = error.problem
    except NoModel:
        problem = "no_model"
    except BudgetSpent:
        problem = "budget"
    return [_failed(file.kind, file.name, problem, tools) for file in files]


def _failed(kind: FileKind, name: str | None, problem: Problem, tools: Tools) -> Part:
    log.info("media_not_understood", kind=kind, problem=problem)
    return Part(kind=kind, name=name, problem=problem, language=tools.language)


def _kind(media: MediaRef, message: Asked) -> FileKind:
    known: dict[str, FileKind] = {
        "photo": "photo", "voice": "voice", "audio": "audio", "video": "video", "document": "document"
    }  # fmt: skip
    return known.get(media.type, message.kind)


def _usage(parts: Sequence[Part]) -> Usage:
    costs = [part.cost for part in parts]
    known = [cost for cost in costs if cost is not None]
    return Usage(
        tokens_in=sum(part.tokens_in for part in parts),
        tokens_out=sum(part.tokens_out for part in parts),
        cost=sum(known, Decimal(0)) if len(known) == len(costs) else None,
        model=next((part.model for part in parts if part.model), None),
    )
