"""Matplotlib figures as SVG inside an HTML page, whose colours follow the page's."""

from __future__ import annotations

import contextlib
import html
import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

__all__ = ["COLOURS", "INK", "MARKERS", "STYLES", "drawing", "inline_svg"]

#: Colour of text and axes, which becomes that of the page's text.
INK = "#010203"
#: Colours of models: Okabe and Ito's without black and yellow; each becomes a variable of the
#: page, lighter on a dark background.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
#: Beside the colours, for eyes and printers that see none.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
STYLES = ("-", "--", "-.", ":")

_SETTINGS: dict[str, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextlib.contextmanager
def drawing(width: float = 4.2, height: float = 3.2) -> Iterator[Figure]:
    """Yield a figure of a size in inches, and with the report's settings."""
    import matplotlib as mpl  # noqa: PLC0415  an extra, and slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context():
        mpl.rcdefaults()  # a user's own settings would change the colours
        mpl.rcParams.update(_SETTINGS)
        yield Figure(figsize=(width, height))


def inline_svg(figure: Figure, name: str, description: str) -> str:
    """Return a figure as an ``<svg>`` element, within :func:`drawing`.

    Parameters
    ----------
    figure : Figure
        The figure.
    name : str
        Unique in the page: identifiers in the SVG begin with it.
    description : str
        What the figure shows, for readers who can't see it.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = text.replace(INK, "currentColor")
    for number, colour in enumerate(COLOURS):
        text = text.replace(colour, f"var(--model-{number})")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    label = html.escape(description)
    head = re.match(r"<svg[^>]*>", text)
    box = re.search(r'viewBox="[^"]*"', text)
    start = (
        f'<svg role="img" aria-label="{label}" {box[0] if box else ""} '
        f'style="max-width: {figure.get_figwidth():.2f}in" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return start + text[head.end() if head else 0 :]
