"""A customer's document: its text as context of this conversation. It never gets into the knowledge base."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pipeline.errors import NotUnderstood
from pipeline.handlers.base import File, Tools
from ragline.logs import get_logger
from storage.documents.blocks import Block, Unreadable
from storage.documents.sandbox import Sandbox
from storage.understanding import Part

#: Characters a token stands for where no model counts them: fewer than in either language, so that nothing overflows.
CHARACTERS = 3
log = get_logger(__name__)


def understand(files: Sequence[File], tools: Tools) -> list[Part]:
    """The text of each document, cut to ``media.document_tokens``. Raises ``NotUnderstood`` (broken, locked)."""
    with Sandbox(time=tools.settings.timeout) as sandbox:
        return [_one(file, tools, sandbox) for file in files]


def _one(file: File, tools: Tools, sandbox: Sandbox) -> Part:
    try:
        parsed = sandbox.read(file.path.read_bytes(), file.parser)
    except Unreadable as error:
        log.info("document_not_read", reason=str(error))
        raise NotUnderstood("locked" if "password" in str(error) else "broken") from None
    count = tools.model.count_tokens if tools.model else _estimated
    text = shortened(parsed.title, parsed.blocks, tools.settings.document_tokens, count=count)
    return Part(kind="document", name=file.name, read=text)


def shortened(title: str, blocks: Iterable[Block], tokens: int, *, count: Callable[[str], int]) -> str:
    """The beginning of a document, whole blocks as far as ``tokens`` go, and a mark where something is left out.

    ``count`` tells the tokens of a text.
    """
    lines = [title] if title else []
    room = tokens - sum(map(count, lines))
    for block in blocks:
        if block.text == title:
            continue
        line = f"{'#' * block.level} {block.text}" if block.level else block.text
        room -= count(line) + 1
        if room < 0:
            # Of a block that is too long as much is kept as certainly fits.
            fitting = max(room + count(line) + 1, 0) * CHARACTERS
            return "\n".join([*lines, f"{line[:fitting]} […]"])
        lines.append(line)
    return "\n".join(lines)


def _estimated(text: str) -> int:
    return len(text) // CHARACTERS + 1
