"""The hooks' reference, made from the hookspecs."""

from __future__ import annotations

import ast
import inspect
import textwrap

from sensorium import hookspecs

_RULE = "# ---"


def reference() -> str:
    """Returns every hook with its arguments and docstring, in Markdown, in the order of a run."""
    source = inspect.getsource(hookspecs)
    module = ast.parse(source)
    parts = [f"# Hooks\n\n{ast.get_docstring(module)}"]
    waiting = _sections(source)
    for node in module.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        while waiting and waiting[0][0] < node.lineno:
            parts.append(waiting.pop(0)[1])
        arguments = ", ".join(ast.unparse(argument) for argument in node.args.args)
        returns = ast.unparse(node.returns) if node.returns is not None else "None"
        parts.append(f"### {node.name}\n\n    {node.name}({arguments}) -> {returns}\n\n{ast.get_docstring(node)}")
    return "\n\n".join(parts) + "\n"


def _sections(source: str) -> list[tuple[int, str]]:
    """Returns line and text of the comments between two rules: a title before the colon, and the rest."""
    lines = source.splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith(_RULE)]
    found = []
    for first, last in zip(rules[::2], rules[1::2], strict=True):
        text = textwrap.dedent("\n".join(line.removeprefix("#") for line in lines[first + 1 : last]))
        title, _, rest = text.strip().partition(":")
        found.append((last, f"## {title}\n\n{rest.strip()[:1].upper()}{rest.strip()[1:]}"))
    return found
