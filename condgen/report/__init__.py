"""Runs side by side: one HTML page that works offline, and a Markdown table."""

from condgen.report.comparison import Comparison, compare
from condgen.report.page import to_html, to_markdown_file
from condgen.report.protocol import Difference, first_difference, unlike
from condgen.report.runs import Run, read_runs

__all__ = [
    "Comparison",
    "Difference",
    "Run",
    "compare",
    "first_difference",
    "read_runs",
    "to_html",
    "to_markdown_file",
    "unlike",
]
