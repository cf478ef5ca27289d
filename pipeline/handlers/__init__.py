"""Content of a message -> text the steps can use, one file a kind of content.

A handler is a function of a module of this package and one line in :data:`HANDLERS`. Which one reads a file is decided
by what the file holds (:mod:`storage.sniff`), not by what it is called or sent as.
"""

from __future__ import annotations

from importlib import import_module

from pipeline.handlers.base import Handler

#: Content of a file -> ``module:function``. Loaded at the first use.
HANDLERS: dict[str, str] = {
    "photo": "pipeline.handlers.photo:understand",
    "recording": "pipeline.handlers.recording:understand",
    "document": "pipeline.handlers.document:understand",
}
#: Contents of which one call reads many files.
TOGETHER = frozenset({"photo"})


def handler(content: str) -> Handler:
    """The handler of a content. Raises ``KeyError`` for one that nobody reads."""
    module, _, name = HANDLERS[content].partition(":")
    found: Handler = getattr(import_module(module), name)
    return found
