"""How the help of a command reads: what it does, placeholders in capitals, options, and an example at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.core

EXAMPLE = "Example"
"""Heading of the section of a docstring that the help ends with."""


class _Ending:
    """Takes the example out of a command's help, to be printed at its end as it is written."""

    example: str

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        text, _, self.example = (options.get("help") or "").partition(f"\n{EXAMPLE}:\n")
        self.help = text.rstrip()

    def format_epilog(self, context: Any, formatter: Any) -> None:
        """Writes the example, each of its lines unwrapped."""
        with formatter.section(EXAMPLE):
            for line in self.example.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")


class Group(_Ending, typer.core.TyperGroup):
    """A command of commands."""


class Command(_Ending, typer.core.TyperCommand):
    """A command, whose arguments are named by their placeholders."""

    def collect_usage_pieces(self, context: Any) -> list[str]:
        """Returns the parts of the usage: NAME, [NAME] where it may be left out, and ... where it may be repeated."""
        names = (each.metavar if each.required else f"[{each.metavar}]" for each in self._arguments())
        repeated = ("..." if each.nargs != 1 else "" for each in self._arguments())
        return ["[OPTIONS]", *(name + dots for name, dots in zip(names, repeated, strict=True))]

    def format_options(self, context: Any, formatter: Any) -> None:
        """Writes what each argument and each option means."""
        arguments = [(str(each.metavar), str(each.help)) for each in self._arguments()]
        options = [each.get_help_record(context) for each in self.get_params(context) if not self._is_argument(each)]
        for heading, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def _arguments(self) -> Iterator[Any]:
        return filter(self._is_argument, self.params)

    @staticmethod
    def _is_argument(parameter: Any) -> bool:
        return bool(parameter.param_type_name == "argument")
