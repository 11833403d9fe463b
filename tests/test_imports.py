"""The layers import in one direction only, and the command line starts without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "condgen"
ROOT = {
    "types",
    "allocation",
    "cache_root",
    "capabilities",
    "checks",
    "download",
    "heartbeat",
    "interrupts",
    "masks",
    "pixels",
    "pictures",
    "seeding",
    "trust",
    "whole",
    "words",
    "yaml_file",
}
BODY = {"nets", "conditions", "objectives", "processes", "data"}
ALLOWED = {
    **dict.fromkeys(ROOT, ROOT),
    **dict.fromkeys(BODY, ROOT),
    "bench": ROOT,
    "metrics": ROOT | BODY,
    "models": ROOT | BODY,
    "checkpoints": ROOT | BODY | {"metrics", "models"},
    "callbacks": ROOT | BODY | {"metrics", "models"},
    "report": ROOT | BODY | {"metrics", "models", "checkpoints", "callbacks"},
    "cli": ROOT | BODY | {"bench", "metrics", "models", "checkpoints", "callbacks", "report"},
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in ROOT)


def imported_modules(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules.add(node.module or "")
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    own = layer(path)
    for module in imported_modules(path):
        parts = module.split(".")
        if parts[0] == "condgen" and len(parts) > 1 and parts[1] not in (own, "__version__"):
            assert parts[1] in ALLOWED[own], f"{own} must not import {module}"


PURE = {"nets", "objectives", "conditions", "processes"} | ROOT


@pytest.mark.parametrize("path", [p for p in FILES if layer(p) in PURE])
def test_nets_and_mathematics_know_nothing_of_lightning(path: Path) -> None:
    assert not {m.split(".")[0] for m in imported_modules(path)} & {"lightning", "wandb", "torchmetrics"}
    assert ".cuda(" not in path.read_text()


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["no-such-verb"], []])
def test_light_answers_import_no_torch(argv: list[str]) -> None:
    code = f"import sys; from condgen.cli import main; main({argv!r}); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "False"
