"""Prompt and reply templates: Markdown files with front matter in ``prompts/``.

Front matter names the ``version`` and the ``variables``; a variable that is missing, unknown or undeclared
is an error. Customers' and knowledge text reach a prompt only through :func:`as_data`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined, TemplateError, meta

from ragline.errors import ConfigurationError

_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.DOTALL)
_MARKERS = re.compile(r"<(?=/?(?:passage|customer|history|passages)\b)", re.IGNORECASE)
# Plain text, not HTML: nothing to escape, and markers are defused by as_data.
_environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701

#: Folder whose templates stand in for the packaged ones of the same name.
_proposed: Path | None = None


@dataclass(frozen=True)
class Template:
    """One template. ``name`` and ``version`` go to the ledger."""

    name: str
    version: str
    variables: frozenset[str]
    source: str

    def render(self, **variables: object) -> str:
        """The text. Raises :class:`ConfigurationError` for a missing or unknown variable."""
        if set(variables) != self.variables:
            raise ConfigurationError(
                f"prompts/{self.name}.md takes {sorted(self.variables)}, was given {sorted(variables)}"
            )
        try:
            return _environment.from_string(self.source).render(**variables).strip()
        except TemplateError as error:
            raise ConfigurationError(f"prompts/{self.name}.md cannot be rendered: {error}") from error


@lru_cache(maxsize=64)
def load(name: str) -> Template:
    """The template ``prompts/<name>.md``.

    Raises :class:`ConfigurationError` for a missing file, bad front matter or an undeclared variable.
    """
    own = _proposed / f"{name}.md" if _proposed else None
    try:
        text = (own if own and own.is_file() else files("prompts").joinpath(f"{name}.md")).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"prompts/{name}.md is missing") from None
    found = _FRONT_MATTER.match(text)
    head = yaml.safe_load(found.group(1)) if found else None
    if found is None or not isinstance(head, dict) or "version" not in head:
        raise ConfigurationError(f"prompts/{name}.md must begin with front matter that names its version")
    declared = frozenset(head.get("variables") or ())
    try:
        used = meta.find_undeclared_variables(_environment.parse(found.group(2)))
    except TemplateError as error:
        raise ConfigurationError(f"prompts/{name}.md is not a valid template: {error}") from error
    if used != declared:
        raise ConfigurationError(f"prompts/{name}.md declares {sorted(declared)} but uses {sorted(used)}")
    return Template(name, str(head["version"]), declared, found.group(2))


@contextmanager
def proposed_prompts(folder: Path) -> Iterator[list[str]]:
    """Use the templates of ``folder`` instead of the packaged ones of the same names, in the whole process.

    Yields their names. Raises :class:`ConfigurationError` for a folder without templates, and for a template that is
    not valid or that nothing would use.
    """
    global _proposed
    names = sorted(path.stem for path in folder.glob("*.md"))
    unknown = [name for name in names if not files("prompts").joinpath(f"{name}.md").is_file()]
    if not names or unknown:
        reason = f"nothing uses {', '.join(f'{name}.md' for name in unknown)}" if unknown else "it holds no .md files"
        raise ConfigurationError(f"{folder}: {reason}; templates are named as in prompts/")
    _proposed = folder
    load.cache_clear()
    try:
        for name in names:
            load(name)
        yield names
    finally:
        _proposed = None
        load.cache_clear()


def as_data(text: str) -> str:
    """``text`` such that it cannot close or open one of the marked blocks it is put into."""
    return _MARKERS.sub("&lt;", text)
