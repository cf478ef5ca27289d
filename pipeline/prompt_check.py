"""A company's own templates looked over before they are used: names, variables, and a rendering with made-up values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.prompts import BLOCKS, Template, account_folders, load_from, names, own_templates
from ragline.channels import Account
from ragline.errors import ConfigurationError

#: A made-up value for each variable a template may take.
SAMPLE: dict[str, Any] = {
    "language": "en",
    "one": False,
    "key": "5f0c2ad41b77",
    "passages": [
        {"title": "How long does delivery take?", "text": "Within the city we deliver in 1-2 days."},
        {"title": "", "text": "Delivery costs 390 roubles and is free for orders of 5,000 roubles or more."},
    ],
    "summary": "The customer asked about a fridge and gave the order number 77123.",
    "history": [("customer", "Hello, is my fridge on its way?"), ("assistant", "It left the warehouse yesterday.")],
    "question": "When will it be here, and what do I pay for delivery?",
    "answer": "It takes 1-2 days, and delivery costs 390 roubles.",
    "reason": "figures",
    "shown": "290 roubles",
    "words": "This is what it shows.",
    "count": 1,
    "video": False,
    "problem": "too_large",
    "largest": 20,
    "longest": 15,
    "alone": True,
}
Accounts = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class Checked:
    """One own template in force. ``left_out``: what it is given and does not use."""

    template: Template
    channel: str | None
    account: str | None
    left_out: tuple[str, ...]


def render_sample(template: Template, **own: object) -> str:
    """The template with made-up values for what ``own`` does not give. Raises :class:`ConfigurationError`."""
    if unknown := set(own) - template.accepts:
        raise ConfigurationError(
            f"{template.name} is not given {', '.join(sorted(unknown))}; it takes {', '.join(sorted(template.accepts))}"
        )
    missing = template.accepts - SAMPLE.keys() - own.keys()
    if missing:
        raise ConfigurationError(f"{template.name} takes {', '.join(sorted(missing))}, for which there is no sample")
    return template.render(**{name: own.get(name, SAMPLE.get(name)) for name in template.accepts})


def check_folder(folder: Path | None, accounts: Accounts) -> list[Checked]:
    """The own templates of ``prompts.folder``. ``accounts``: names of accounts by channel.

    Raises :class:`ConfigurationError` for a folder that is missing, a file nothing would use, an unknown variable, or a
    template that cannot be rendered.
    """
    if folder is None:
        return []
    if not folder.is_dir():
        raise ConfigurationError(f"prompts.folder: {folder} is no folder")
    found: list[Checked] = []
    for where, channel, account in [(folder, None, None), *_account_folders(folder, accounts)]:
        _own_names(where)
        folders = account_folders(folder, channel, account)
        for name in names():
            template = load_from(name, folders)
            render_sample(template)
            if Path(template.path).parent == where:
                left_out = tuple(sorted(template.accepts - template.variables))
                found.append(Checked(template, channel, account, left_out))
    return found


def accounts_of(channels: Mapping[str, Mapping[str, Account]]) -> Accounts:
    """The names of the accounts of the settings, by channel."""
    return {channel: list(accounts) for channel, accounts in channels.items()}


def _account_folders(folder: Path, accounts: Accounts) -> Iterator[tuple[Path, str, str]]:
    for channel in _folders_in(folder):
        if channel.name == BLOCKS:
            continue
        if channel.name not in accounts:
            raise ConfigurationError(
                f"{channel}: no channel of this name is configured; known: {', '.join(sorted(accounts))}"
            )
        if lost := sorted(path.name for path in channel.glob("*.md")):
            raise ConfigurationError(f"{channel / lost[0]}: templates of a channel stand in the folder of an account")
        for account in _folders_in(channel):
            if account.name not in accounts[channel.name]:
                known = ", ".join(sorted(accounts[channel.name]))
                raise ConfigurationError(f"{account}: {channel.name} has no account of this name; known: {known}")
            yield account, channel.name, account.name


def _folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _own_names(folder: Path) -> None:
    _, unknown = own_templates(folder)
    if unknown:
        raise ConfigurationError(
            f"{folder / unknown[0]}.md: nothing uses a template of this name; known: {', '.join(names())}"
        )
