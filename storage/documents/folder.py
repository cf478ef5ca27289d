"""Documents of a folder, and single files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from storage.documents.blocks import LARGEST_FILE
from storage.documents.importing import Document, Skipped
from storage.documents.sandbox import TYPES


@dataclass
class Folder:
    """The documents below a folder. Hidden files, and links that lead out of it, are left alone.

    ``ignored`` counts files of other types; ``whole`` is False where a part of the folder could not be listed. Both
    are known once the documents have been gone through.
    """

    path: Path
    ignored: int = 0
    whole: bool = True
    _failed: list[OSError] = field(default_factory=list, repr=False)

    @property
    def origin(self) -> str:
        """What tells this folder apart."""
        return str(self.path.resolve())

    @property
    def below(self) -> str:
        """Documents from below it are the folder's, whoever imported them."""
        return f"{self.origin.rstrip('/')}/"

    def documents(self) -> Iterator[Document | Skipped]:
        """In the order of their paths, read one at a time."""
        root = self.path.resolve()
        for folder, folders, files in os.walk(root, onerror=self._failed.append):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                path = Path(folder, name)
                if name.startswith((".", "~$")):
                    continue
                if path.suffix.lower() not in TYPES or not path.resolve().is_relative_to(root):
                    self.ignored += 1
                    continue
                yield read_document(path, path.relative_to(root).as_posix())
        for error in self._failed:
            self.whole = False
            where = str(error.filename or root)
            yield Skipped(where, where, f"cannot be listed ({error.strerror}); nothing in this folder is removed")


def read_document(path: Path, source: str) -> Document | Skipped:
    """A file with what is to be cited of it."""
    location = str(path.resolve())
    try:
        size = path.stat().st_size
        if not path.is_file():
            return Skipped(location, source, "is no regular file")
        if size > LARGEST_FILE:
            return Skipped(location, source, f"is larger than {LARGEST_FILE // 2**20} MB; split it")
        content = path.read_bytes()
    except OSError as error:
        return Skipped(location, source, f"cannot be read ({error.strerror})")
    return Document(location, source, TYPES[path.suffix.lower()], content)
