"""Formulas, written as in TeX between dollar signs, become MathML, which browsers show without a script."""

from __future__ import annotations

import re
from html import unescape

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
UNREAD = re.compile(r"&(?!#?\w+;)|\\[A-Za-z]|<mtext>\\")


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Convert all formulas of a page."""
    return FORMULA.sub(lambda found: mathml(unescape(found[3]).strip(), "block" if found[2] == "[" else "inline"), html)


def mathml(formula: str, display: str) -> str:
    """Convert one.

    Raises:
        PluginError: If a part of it is not understood.
    """
    out = convert(formula, display=display)
    if UNREAD.search(out):
        raise PluginError(f"cannot write as MathML: {formula}")
    return f'<div class="formula">{out}</div>' if display == "block" else out
