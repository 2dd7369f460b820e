"""Formulas as MathML: browsers draw it themselves, so no script and nothing from the network is needed."""

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.math import get_node_equation_number


def convert(node: nodes.Element, inline: bool) -> str:
    """The MathML of a formula; a formula that cannot be converted ends the build."""
    try:
        return tex2mathml(node.astext(), as_block=not inline)
    except Exception as error:
        raise ValueError(f"{node.source}:{node.line}: cannot convert the formula {node.astext()!r}: {error}") from error


def visit_inline(writer: Any, node: nodes.Element) -> None:
    writer.body.append(convert(node, inline=True))
    raise nodes.SkipNode


def visit_block(writer: Any, node: nodes.Element) -> None:
    number = f'<span class="eqno">({get_node_equation_number(writer, node)})</span>' if node["number"] else ""
    writer.body.append(f'<div class="formula">{number}{convert(node, inline=False)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer and make it the one in use."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
