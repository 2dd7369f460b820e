"""``.. annotated:: minirnn/rnn.py``: a source file in two columns, what it says left and what it does right.

Docstrings and lines that are comments go left, all other lines right. A row begins with each function or class and with
each comment, so that prose stands beside the code it is about. Every line of code appears exactly once.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, NumpyDocstring

AS_LISTS = Config(napoleon_use_param=False, napoleon_use_rtype=False)  # as the API has them
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def rows(source: str) -> Iterator[tuple[str, str]]:
    """The rows of a page: prose, in reStructuredText, and the code beside it."""
    docstrings: dict[int, tuple[int, str]] = {}  # the line one begins at: the line it ends at, and its text
    heads = set()  # lines at which a function or class begins, decorators included
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                docstrings[first.lineno] = first.end_lineno or first.lineno, inspect.cleandoc(first.value.value)
            if not isinstance(node, ast.Module):
                heads.add(min(n.lineno for n in (node, *node.decorator_list)))

    prose: list[str] = []
    code: list[str] = []
    lines, number = source.splitlines(), 1
    while number <= len(lines):
        line, is_comment = lines[number - 1], lines[number - 1].lstrip().startswith("#")
        if (number in heads or is_comment) and any(map(str.strip, code)):
            yield "\n".join(prose), "\n".join(code).strip("\n")
            prose, code = [], []
        if number in docstrings:
            end, text = docstrings[number]
            prose += ["", *str(NumpyDocstring(text, AS_LISTS)).splitlines(), ""]
            number = end
        elif is_comment:
            prose.append(line.strip().lstrip("#").strip(" -"))
        else:
            code.append(line)
        number += 1
    yield "\n".join(prose), "\n".join(code).strip("\n")


class Annotated(Directive):
    """The directive."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A container of rows, each with a container of prose and a block of code."""
        environment = self.state.document.settings.env
        path = Path(environment.config.repository) / self.arguments[0]
        environment.note_dependency(str(path))
        page = nodes.container(classes=["annotated"])
        for prose, code in rows(path.read_text(encoding="utf-8")):
            left, right = nodes.container(classes=["prose"]), nodes.container(classes=["code"])
            self.state.nested_parse(StringList(prose.splitlines(), source=str(path)), 0, left)
            if code:
                right += nodes.literal_block(code, code, language="python")
            page += nodes.container("", left, right, classes=["row"])
        return [page]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive; ``repository`` is the folder that its paths are relative to."""
    app.add_config_value("repository", "", "env")
    app.add_directive("annotated", Annotated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
