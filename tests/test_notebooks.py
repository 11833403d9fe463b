"""The notebooks run from top to bottom, and what they show is what they gave."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import REPO

nbformat = pytest.importorskip("nbformat", reason="the notebooks take the extra `dev`")
NOTEBOOKS = sorted(REPO.glob("notebooks/*.ipynb"))
LARGEST = 400_000
"""Bytes of a notebook with its pictures."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_shown_as_it_ran(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in outputs)
    assert path.stat().st_size < LARGEST
    assert not re.search(r"/(tmp|home|work|root)/", path.read_text())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((\.\./[\w./-]+)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(nbformat.read(path, 4), kernel_name="python3", resources=resources).execute()
