"""The child process of :mod:`storage.documents.sandbox`: reads documents from standard input until it ends."""

from __future__ import annotations

import json
import os
import resource
import sys
from importlib import import_module
from typing import Any

from storage.documents.blocks import Parsed, Unreadable


def main() -> None:
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)  # customers' questions first
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr  # a parser that prints must not be taken for an answer
    while line := sys.stdin.buffer.readline():
        question = json.loads(line)
        content = sys.stdin.buffer.read(question["size"])
        answers.write(json.dumps(_answer(question, content, memory)).encode() + b"\n")
        answers.flush()


def _answer(question: dict[str, Any], content: bytes, memory: int) -> dict[str, Any]:
    try:
        parsed = _parse(question, content)
        if not any(block.level == 0 for block in parsed.blocks):
            raise Unreadable("has no text")
        return {"title": parsed.title, "blocks": parsed.blocks}
    except Unreadable as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": f"needs more than {memory // 2**20} MB of memory to read; split it"}
    except Exception as error:  # a parser's own, of a file no parser foresaw
        return {"error": f"cannot be read ({type(error).__name__}); open it in its program and save it again"}


def _parse(question: dict[str, Any], content: bytes) -> Parsed:
    parser = import_module(f"storage.documents.{question['kind']}")
    if question["kind"] == "html":
        found: Parsed = parser.parse(content, question["charset"])
    else:
        found = parser.parse(content)
    return found


if __name__ == "__main__":
    main()
