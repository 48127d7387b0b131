"""The `troupe` command."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import cast

import click

_COMMANDS = {each: f"broadcast.cli.{each}" for each in ("certs", "demo", "log", "recover", "status", "trace")}
"""Name -> the module that holds it as `command`; imported when it is wanted, so that `troupe --help` is quick."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        return None if module is None else cast(click.Command, importlib.import_module(module).command)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("trio-troupe"), prog_name="troupe")
def main() -> None:
    """Replicated actors for Trio."""
