"""The command ``ragline``. Each command is imported when it is used: ``--help`` loads none of them."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ragline import __version__
from ragline.logs import configure_logging

#: Command -> what it does; the module of the same name in ragline.commands holds it as ``app``.
COMMANDS = {
    "up": "Start the whole system on this machine and supervise it.",
    "ask": "Ask one question and see how it is answered.",
    "kb": "The knowledge base: import, add, set, list, search, check, export, reindex.",
    "eval": "Quality on labelled questions, a gate for CI, and which answers a change would alter.",
    "messages": "What came in and where it stands.",
    "replay": "Failed messages again, from the step that failed.",
    "flags": "Open red flags: questions a person should look at, and a draft of an answer.",
    "prompts": "What is said to models and to customers: list, check, render.",
    "report": "What the models cost, and how far the budgets are.",
    "doctor": "What is configured, what is reachable, and how to mend what is not.",
    "channel": "Channels: list accounts, set webhooks.",
    "db": "The database: upgrade, downgrade, current, check.",
}


class _Lazy(TyperGroup):
    """Knows its commands by name, and imports the one that is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"ragline.commands.{cmd_name}").app)
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help of this command, without importing any other."""
        width = max(map(len, COMMANDS))
        lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
        typer.echo("Usage: ragline COMMAND [OPTIONS]\n\n" + (self.help or "") + "\n\nCommands:\n" + "\n".join(lines))
        typer.echo("\n`ragline COMMAND --help` says more.")


app = typer.Typer(cls=_Lazy, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ragline {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """One answering engine for every channel your customers write to."""
    # Results go to standard output, and nothing else does.
    configure_logging("WARNING", out=sys.stderr)


def main() -> None:
    """The console script."""
    app(prog_name="ragline")


if __name__ == "__main__":
    main()
