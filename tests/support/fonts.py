"""Fonts of Matplotlib, which keeps their files open."""

from __future__ import annotations

from rootstock.reports.svg import drawing, inline_svg


def open_fonts():
    """Have them opened before a test counts descriptors."""
    with drawing() as figure:
        figure.add_subplot().set_title("Title")
        inline_svg(figure, "fonts", "")
