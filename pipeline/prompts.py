"""Prompt and reply templates: Markdown files with front matter in ``prompts/``, and a company's own in their place.

Front matter names the ``version``, the ``variables``, the ``modality`` and a ``description``; a variable that is
missing, unknown or undeclared is an error. Customers' and knowledge text reach a prompt only through :func:`as_data`,
in blocks that carry the key of their request. Templates run in a sandbox: they read their variables and nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import yaml
from jinja2 import FunctionLoader, StrictUndefined, TemplateError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipeline.marks import BLOCKS as MARKED
from ragline.errors import ConfigurationError

MODALITIES = ("text", "image", "voice", "video", "document")
BLOCKS = "blocks"
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.DOTALL)
_HEAD = {"version", "modality", "variables", "description"}
_NAME = re.compile(rf"(?:{BLOCKS}/)?[a-z][a-z0-9_]*")
#: Between what a system message says and what the user's does.
_USER = "\n<!-- user -->\n"
#: Blanks and characters nobody sees, with which a marker could be disguised.
_GAP = r"[\s/\\\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff]*"
#: The names of the blocks, behind anything that reads as an opening bracket.
_MARKERS = re.compile(rf"[<\uff1c\u2039\u3008\u27e8\ufe64](?={_GAP}(?:{'|'.join(MARKED)})\b|!--)", re.IGNORECASE)
#: Letters of the Unicode block "tags", which a model reads and a person does not see.
_UNSEEN = re.compile("[\U000e0000-\U000e007f]")
#: What a ledger row keeps of a version.
_LONGEST_VERSION = 20
#: Folder whose templates stand in for all others of the same name, in the whole process.
_proposed: Path | None = None
#: Folders whose templates stand in for the packaged ones, the first one first.
_folders: ContextVar[tuple[Path, ...]] = ContextVar("prompt_folders", default=())


class _Sandbox(ImmutableSandboxedEnvironment):
    """Templates without attributes, globals or products: a text can neither reach out nor grow without bound."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        raise SecurityError(f"'{operator}' has no place in a prompt")


@dataclass(frozen=True)
class Template:
    """One template, its includes put in.

    ``version`` goes to the ledger: the file's own, ``+`` the sum of those of the blocks it includes (each of them only
    grows, and so does the sum), and for a text that is not the packaged one ``~`` and four digits of its digest.
    ``accepts``: what may be given to it, of which it uses ``variables``. ``path``: where it was read.
    """

    name: str
    version: str
    modality: str
    description: str
    variables: frozenset[str]
    accepts: frozenset[str]
    includes: tuple[str, ...]
    path: str
    source: str = field(repr=False)
    _compiled: jinja2.Template = field(repr=False, compare=False)

    def render(self, **variables: object) -> str:
        """The text. Raises :class:`ConfigurationError` for a missing or unknown variable."""
        if set(variables) != self.accepts:
            raise ConfigurationError(f"{self.path} takes {sorted(self.accepts)}, was given {sorted(variables)}")
        used = {name: variables[name] for name in self.variables}
        try:
            return self._compiled.render(**used).strip()
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
            raise ConfigurationError(f"{self.path} cannot be rendered: {error}") from error
        except RecursionError:
            raise ConfigurationError(f"{self.path} cannot be rendered: it calls itself without end") from None

    def messages(self, **variables: object) -> list[dict[str, Any]]:
        """The text as chat messages: what stands before the line ``<!-- user -->`` is the system's."""
        system, parted, user = self.render(**variables).partition(_USER)
        if not parted:
            system, user = "", system
        return [{"role": role, "content": text.strip()} for role, text in (("system", system), ("user", user)) if text]


@dataclass(frozen=True)
class _File:
    """One file as it was read. ``packaged``: it is one of ours."""

    name: str
    version: int
    modality: str
    description: str
    variables: frozenset[str]
    body: str
    path: str
    packaged: bool


def names() -> list[str]:
    """The templates something uses, in order of their names."""
    return sorted(entry.name.removesuffix(".md") for entry in files("prompts").iterdir() if entry.name.endswith(".md"))


def blocks() -> list[str]:
    """The packaged blocks, as templates include them."""
    inside = files("prompts").joinpath(BLOCKS).iterdir()
    return sorted(f"{BLOCKS}/{entry.name.removesuffix('.md')}" for entry in inside if entry.name.endswith(".md"))


def load(name: str) -> Template:
    """The template of this name: that of the account at hand (:func:`account_prompts`), else the packaged one.

    Raises :class:`ConfigurationError` for a missing file, bad front matter or an undeclared variable.
    """
    return load_from(name, _folders.get())


def load_from(name: str, folders: tuple[Path, ...]) -> Template:
    """The template of this name in the first of ``folders`` that has one, else the packaged one."""
    return _load(name, (_proposed, *folders) if _proposed else folders)


@contextmanager
def account_prompts(folder: Path | None, channel: str | None = None, account: str | None = None) -> Iterator[None]:
    """Use a company's own templates, those of one account before those for all. They are read once a process."""
    token = _folders.set(account_folders(folder, channel, account))
    try:
        yield
    finally:
        _folders.reset(token)


def account_folders(folder: Path | None, channel: str | None, account: str | None) -> tuple[Path, ...]:
    """Where the templates of an account are looked for before the packaged ones."""
    if folder is None:
        return ()
    return (folder / channel / account, folder) if channel and account else (folder,)


@contextmanager
def proposed_prompts(folder: Path) -> Iterator[list[str]]:
    """Use the templates of ``folder`` instead of all others of the same names, in the whole process.

    Yields their names. Raises :class:`ConfigurationError` for a folder without templates, and for a template that is
    not valid or that nothing would use.
    """
    global _proposed
    found, unknown = own_templates(folder)
    if not found or unknown:
        reason = f"nothing uses {', '.join(f'{name}.md' for name in unknown)}" if unknown else "it holds no .md files"
        raise ConfigurationError(f"{folder}: {reason}; templates are named as in prompts/")
    _proposed = folder
    try:
        for name in found:
            load(name)
        yield found
    finally:
        _proposed = None
        _load.cache_clear()


def own_templates(folder: Path) -> tuple[list[str], list[str]]:
    """The names of a folder's templates and blocks, and those among them that nothing uses."""
    found = sorted(path.stem for path in folder.glob("*.md"))
    found += sorted(f"{BLOCKS}/{path.stem}" for path in folder.joinpath(BLOCKS).glob("*.md"))
    known = {*names(), *blocks()}
    for name in found:
        if name in known and not name.startswith(BLOCKS):
            known |= set(load_from(name, (folder,)).includes)
    return found, [name for name in found if name not in known]


@lru_cache(maxsize=1024)
def _load(name: str, folders: tuple[Path, ...]) -> Template:
    try:
        own = _read(name, folders)
    except FileNotFoundError:
        raise ConfigurationError(f"prompts/{name}.md is missing") from None
    packaged = own if own.packaged else _read(name, ()) if _is_packaged(name) else own
    environment = _environment(folders)
    included = _included(environment, own, folders)
    used = _used(environment, own).union(*(_used(environment, block) for block in included))
    missing = used - own.variables
    if missing or own.variables - used:
        raise ConfigurationError(f"{own.path} declares {sorted(own.variables)} but uses {sorted(used)}")
    if unknown := own.variables - packaged.variables:
        raise ConfigurationError(
            f"{own.path} uses {', '.join(sorted(unknown))}, which {name} is not given; it may use "
            f"{', '.join(sorted(packaged.variables)) or 'nothing'}"
        )
    return Template(
        name, _version(own, included), own.modality, own.description, own.variables, packaged.variables,
        tuple(block.name for block in included), own.path, own.body,
        environment.from_string(own.body),
    )  # fmt: skip


def _read(name: str, folders: Sequence[Path]) -> _File:
    """The file of the first folder that has it, else the packaged one. Raises ``FileNotFoundError`` for neither."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"prompts/{name}.md: a template's name is lower-case letters, digits and underscores")
    for folder in folders:
        path = folder / f"{name}.md"
        try:
            return _parse(name, path.read_text(encoding="utf-8-sig"), str(path), packaged=False)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: cannot be read as UTF-8 text ({type(error).__name__})") from error
    if not _is_packaged(name):
        raise FileNotFoundError(name)
    text = files("prompts").joinpath(f"{name}.md").read_text(encoding="utf-8")
    return _parse(name, text, f"prompts/{name}.md", packaged=True)


def _is_packaged(name: str) -> bool:
    return files("prompts").joinpath(f"{name}.md").is_file()


def _parse(name: str, text: str, path: str, *, packaged: bool) -> _File:
    found = _FRONT_MATTER.match(text)
    try:
        head = yaml.safe_load(found.group(1)) if found else None
    except (yaml.YAMLError, ValueError) as error:  # the latter: a date that is none
        raise ConfigurationError(f"{path}: its front matter is not valid YAML") from error
    if found is None or not isinstance(head, dict) or "version" not in head:
        raise ConfigurationError(f"{path} must begin with front matter that names its version")
    version, modality, variables = head["version"], head.get("modality", "text"), head.get("variables") or []
    if unknown := set(head) - _HEAD:
        raise ConfigurationError(f"{path}: unknown front matter {sorted(map(str, unknown))}; known: {sorted(_HEAD)}")
    if type(version) is not int or not 1 <= version <= 9999:
        raise ConfigurationError(f"{path}: version must be a whole number from 1 to 9999")
    if modality not in MODALITIES:
        raise ConfigurationError(f"{path}: modality must be one of {', '.join(MODALITIES)}")
    if not isinstance(variables, list) or not all(isinstance(one, str) for one in variables):
        raise ConfigurationError(f"{path}: variables must be a list of names")
    if not found.group(2).strip() and not name.startswith(f"{BLOCKS}/"):
        raise ConfigurationError(f"{path} says nothing: its text stands behind the front matter")
    description = str(head.get("description") or "")
    return _File(name, version, modality, description, frozenset(variables), found.group(2), path, packaged)


def _environment(folders: tuple[Path, ...]) -> _Sandbox:
    def body(template: str) -> str:
        # The template engine takes one line break off the end.
        return _read(template.removesuffix(".md"), folders).body.rstrip("\n") + "\n\n"

    # Plain text, not HTML: nothing to escape, and markers are defused by as_data.
    made = _Sandbox(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False, loader=FunctionLoader(body)
    )
    made.globals.clear()
    return made


def _parsed(environment: _Sandbox, file: _File) -> nodes.Template:
    try:
        return environment.parse(file.body)
    except TemplateError as error:
        raise ConfigurationError(f"{file.path} is not a valid template: {error}") from error
    except RecursionError:
        raise ConfigurationError(f"{file.path} is not a valid template: it is nested too deeply") from None


def _used(environment: _Sandbox, file: _File) -> frozenset[str]:
    try:
        return frozenset(meta.find_undeclared_variables(_parsed(environment, file)))
    except TemplateError as error:
        raise ConfigurationError(f"{file.path} is not a valid template: {error}") from error


def _included(environment: _Sandbox, file: _File, folders: tuple[Path, ...]) -> list[_File]:
    """The blocks a file includes, directly or through others, each once."""
    found: dict[str, _File] = {}

    def follow(one: _File, chain: tuple[_File, ...]) -> None:
        if any(one.name == before.name for before in chain):
            raise ConfigurationError(f"{' > '.join(step.path for step in (*chain, one))}: includes itself")
        for reference in meta.find_referenced_templates(_parsed(environment, one)):
            if reference is None or not reference.startswith(f"{BLOCKS}/") or not reference.endswith(".md"):
                raise ConfigurationError(f"{one.path}: only blocks can be included, by name: '{BLOCKS}/data.md'")
            name = reference.removesuffix(".md")
            try:
                block = _read(name, folders)
            except FileNotFoundError:
                raise ConfigurationError(
                    f"{one.path}: {reference} is missing; packaged: {', '.join(blocks())}"
                ) from None
            follow(block, (*chain, one))
            found[name] = block

    follow(file, ())
    return [found[name] for name in sorted(found)]


def _version(own: _File, included: Sequence[_File]) -> str:
    version = f"{own.version}+{sum(block.version for block in included)}" if included else str(own.version)
    if all(one.packaged for one in (own, *included)):
        return version
    text = "\0".join(one.body for one in (own, *included))
    return f"{version}~{hashlib.sha256(text.encode()).hexdigest()[:4]}"


def ledger_version(*templates: Template) -> str:
    """The versions of what a request is made of, as one text of at most twenty characters."""
    whole = ".".join(template.version for template in templates)
    return whole if len(whole) <= _LONGEST_VERSION else "#" + hashlib.sha256(whole.encode()).hexdigest()[:12]


def as_data(text: str) -> str:
    """``text`` such that it can neither close nor open one of the marked blocks it is put into, nor hide letters."""
    return _MARKERS.sub("&lt;", _UNSEEN.sub("", text))


def block_key(*texts: str) -> str:
    """The key of a request's blocks: no author of a text can know it, and the same request has the same one.

    Twelve hexadecimal digits of the SHA-256 of all that stands in the blocks. A text that was to contain the key of its
    own request would have to be found among 2^48, with all the others known.
    """
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:12]
