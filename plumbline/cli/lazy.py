"""Commands whose modules are loaded when they are called: the help of a group, the completion of a
shell and every other command go without them."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from plumbline.errors import ConfigError
from plumbline.text.unsafe_characters import printable


@dataclass(frozen=True)
class Entry:
    """Where a command, or a group of them, is defined, and its line in the help of the group above.

    Attributes:
        target: `module:name`, below `plumbline.cli`: a function, or a typer app.
        help: The first paragraph of its own help, so that listing it loads nothing.
    """

    target: str
    help: str


class LazyCommand(TyperCommand):
    """Stands for a command or a group until it is called, or asked for help."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.help)
        self.entry = entry

    def load(self) -> TyperCommand | TyperGroup:
        """The command itself; imports the module that defines it."""
        module, attribute = self.entry.target.split(":")
        target = getattr(import_module(f"plumbline.cli.{module}"), attribute)
        if isinstance(target, typer.Typer):
            command: Any = get_group(target)
        else:
            app = typer.Typer(add_completion=False)
            app.command()(target)
            command = get_command(app)
        command.name = self.name
        _join_help(command)
        return command  # type: ignore[no-any-return]  # typer declares the class behind both

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """The context of the command itself, which then runs in it."""
        return self.load().make_context(info_name, args, parent, **extra)


def join_lines(text: str) -> str:
    """A docstring whose paragraphs are one line each, to break where its reader does and not where
    the source did."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _join_help(command: Any) -> None:
    command.help = join_lines(command.help or "")
    for inner in getattr(command, "commands", {}).values():
        _join_help(inner)


class MovedCommand(TyperCommand):
    """An old name: it says the new one, and runs nothing."""

    def __init__(self, name: str, place: str) -> None:
        super().__init__(name, hidden=True)
        self.place = place

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Refuse, with the whole line as it is to be typed now.

        Raises:
            ConfigError: Always, but for a shell that completes a line.
        """
        if extra.get("resilient_parsing"):
            return super().make_context(info_name, args, parent, **extra)
        line = shlex.join(["plumbline", *self.place.split(), *args])
        raise ConfigError(
            f"`plumbline {self.name}` is now `plumbline {self.place}`; type `{printable(line)}`"
        )


def lazy_group(name: str, help: str, entries: Mapping[str, Entry]) -> TyperGroup:
    """A group of commands that are loaded one by one."""
    return TyperGroup(
        name=name,
        help=help,
        no_args_is_help=True,
        commands=[LazyCommand(name, entry) for name, entry in entries.items()],
    )
