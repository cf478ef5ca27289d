"""The command ``ragline``. Each command is imported when it is used: ``--help`` loads none of them."""

from __future__ import annotations

from importlib import import_module

import click
import typer

from ragline import __version__

#: Command -> what it does; the module of the same name in ragline.commands holds it as ``app``.
COMMANDS = {
    "up": "Start the whole system on this machine and supervise it.",
    "ask": "Ask one question and see how it is answered.",
    "kb": "The knowledge base: import, add, list, search, export, reindex.",
    "messages": "What came in and where it stands.",
    "flags": "Open red flags: questions a person should look at.",
    "doctor": "What is configured, what is reachable, and how to mend what is not.",
    "channel": "Channels: list accounts, set webhooks.",
    "db": "The database: upgrade, downgrade, current, check.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(f"ragline.commands.{cmd_name}").app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ragline")
def main() -> None:
    """One answering engine for every channel your customers write to."""


if __name__ == "__main__":
    main(prog_name="ragline")
