"""``ragline prompts``: the templates in force, whether they are sound, and what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.prompt_check import accounts_of, check_folder, render_sample
from pipeline.prompts import Template, account_folders, load_from, names
from ragline.commands.output import AsJson, console, plain_errors, print_json, print_table
from ragline.errors import ConfigurationError
from ragline.settings import Settings, get_settings

app = typer.Typer(add_completion=False, no_args_is_help=True)
Channel = Annotated[str | None, typer.Option(help="As for this channel; with --account.")]
Account = Annotated[str | None, typer.Option(help="As for this account of the channel.")]


@app.callback()
def root() -> None:
    """What is said to models and to customers."""


@app.command("list")
def list_templates(channel: Channel = None, account: Account = None, as_json: AsJson = False) -> None:
    """List the templates in force: their version, variables and file."""
    with plain_errors():
        folders = _folders(get_settings(), channel, account)
        rows = [_row(load_from(name, folders)) for name in names()]
    if as_json:
        print_json(rows)
        return
    columns = ("name", "version", "modality", "variables", "file", "description")
    cells = (
        [*(row[name] for name in columns[:3]), " ".join(row["variables"]), row["file"], row["description"]]
        for row in rows
    )
    print_table(columns, cells, empty="No templates.")


@app.command()
def check(
    folder: Annotated[Path | None, typer.Argument(help="Folder to check; default: prompts.folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check own templates: names, variables, and that each can be rendered. Exit code 2 when something is wrong."""
    with plain_errors():
        settings = get_settings()
        checked = check_folder(folder or settings.prompts.folder, accounts_of(settings.channels))
        for name in names():
            render_sample(load_from(name, ()))
    if as_json:
        print_json(
            [
                {**_row(one.template), "channel": one.channel, "account": one.account, "left_out": list(one.left_out)}
                for one in checked
            ]
        )
        return
    for one in checked:
        used = f"; leaves out {', '.join(one.left_out)}" if one.left_out else ""
        console.print(f"{one.template.path}: version {one.template.version}{used}", markup=False, highlight=False)
    console.print(f"{len(checked)} own templates and {len(names())} packaged ones are sound.", highlight=False)


@app.command()
def render(
    name: Annotated[str, typer.Argument(help="Name of the template.")],
    sample: Annotated[bool, typer.Option("--sample", help="Made-up values for what --set does not give.")] = False,
    given: Annotated[
        list[str] | None, typer.Option("--set", help="name=value; a value in brackets is read as JSON.")
    ] = None,
    channel: Channel = None,
    account: Account = None,
    as_json: AsJson = False,
) -> None:
    """Show what a template says, with your own values or with those of a made-up turn."""
    with plain_errors():
        template = load_from(name, _folders(get_settings(), channel, account))
        values = dict(map(_value, given or ()))
        missing = template.accepts - values.keys()
        if missing and not sample:
            raise ConfigurationError(
                f"{name} takes {', '.join(sorted(missing))}; give --sample, or --set {sorted(missing)[0]}=..."
            )
        text = render_sample(template, **values)
    if as_json:
        print_json({**_row(template), "text": text})
    else:
        console.print(text, markup=False, highlight=False)


def _folders(settings: Settings, channel: str | None, account: str | None) -> tuple[Path, ...]:
    if bool(channel) != bool(account):
        raise ConfigurationError("--channel and --account go together")
    if channel and account and account not in settings.channels.get(channel, {}):
        raise ConfigurationError(f"channels.{channel}.{account} is not configured")
    own = settings.prompts.folder
    if own is not None and not own.is_dir():
        raise ConfigurationError(f"prompts.folder: {own} is no folder")
    return account_folders(settings.prompts.folder, channel, account)


def _row(template: Template) -> dict[str, Any]:
    return {
        "name": template.name,
        "version": template.version,
        "modality": template.modality,
        "variables": sorted(template.variables),
        "includes": list(template.includes),
        "file": template.path,
        "description": template.description,
    }


def _value(text: str) -> tuple[str, Any]:
    name, given, value = text.partition("=")
    if not given:
        raise ConfigurationError(f"--set {text}: write name=value")
    if value[:1] not in "[{":
        return name, value
    try:
        return name, json.loads(value)
    except ValueError as error:
        raise ConfigurationError(f"--set {name}: is not valid JSON ({error})") from error
