"""The documents are built strictly, need nothing from elsewhere when they are read, and show commands that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import REPO
from shown_commands import commands, understood

from condgen.cli import main

DOCS = REPO / "docs"
PAGES = [REPO / "README.md", *sorted(DOCS.rglob("*.md"))]
WITH_COMMANDS = [path for path in PAGES if commands(path.read_text())]
PACKAGES = [path.stem for path in sorted((DOCS / "reference").glob("*.md"))]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
VALUES = re.compile(
    r"guidance=|mine\.M|; add --trust mine|data(?= is missing| CLASS)|bf16-true|'text'|'tokens'|label$|5000|"
    r"torchrun(?= has)|4(?= processes)|ddp_find_unused_parameters_true|two optimizers take turns|\b[12]\b"
)
"""What stands in the code's place of a value in the lines that troubleshooting quotes."""
OPENED = {"stylesheet", "icon", "preload", "preconnect", "modulepreload", "manifest", "dns-prefetch"}
ONE_BATCH = ["-c", "trainer/default.yaml", "--trainer.max_steps", "1", "--trainer.accelerator", "cpu"]


class Fetched(HTMLParser):
    """Lists what a browser would fetch for a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in LOADED:
            self.found.append(values.get(LOADED[tag]) or "")
        if tag == "link" and set((values.get("rel") or "").split()) & OPENED:
            self.found.append(values.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built documents."""
    for name in ("mkdocs", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(name, reason="the documents take the extra `docs`")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A folder with all that the commands name, and a run of a GAN and one of a diffusion model."""
    home = tmp_path_factory.mktemp("shown")
    for path in (DOCS / "examples").iterdir():
        shutil.copy(path, home)
    mine = re.findall(r"```python\n(.*?)```", (REPO / "README.md").read_text(), re.DOTALL)[1]
    (home / "mine.py").write_text(mine)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(["init", "pets"]) == 0
        for model in ("dcgan", "ddpm"):
            assert main(["fit", *ONE_BATCH, "-c", "data/digits.yaml", "-c", f"model/{model}.yaml"]) == 0
        runs = [next((home / "runs" / f"{model}-digits").iterdir()) for model in ("dcgan", "ddpm")]
    for run in runs:  # as if it had been stopped
        config = (run / "config.yaml").read_text()
        (run / "config.yaml").write_text(config.replace("max_steps: 1\n", "max_steps: 5000\n"))
    return SimpleNamespace(home=home, runs=runs)


def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        elsewhere = [url for url in Fetched(path.read_text()).found if re.match(r"(\w+:)?//", url)]
        assert not elsewhere, (path, elsewhere)
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text()), path


def test_formulas_and_code_are_in_the_pages(site: Path) -> None:
    pages = {path.stem: path.read_text() for path in (site / "models").glob("*.html")}
    for path in (DOCS / "models").glob("*.md"):
        text, html = path.read_text(), pages[path.stem]
        assert html.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">') == text.count("$$") // 2
        assert "arithmatex" not in html
        sources = re.findall(r"^\[condgen\..*\]\((.*)\)$", text, re.MULTILINE)
        assert sources
        assert all((path.parent / source).is_file() for source in sources)
        assert html.count('<span class="filename">condgen/') == len(sources)


def test_examples_are_in_the_pages(site: Path) -> None:
    html = "".join((site / f"{name}.html").read_text() for name in ("tutorial", "how-to/extend", "how-to/tracking"))
    for path in (DOCS / "examples").iterdir():
        assert f'<span class="filename">{path.name}' in html


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_has_every_public_name(package: str, site: Path) -> None:
    html = (site / "reference" / f"{package}.html").read_text()
    for name in import_module(f"condgen.{package}").__all__:
        assert f'id="condgen.{package}.{name}"' in html, name


def test_results_are_those_of_the_experiments(site: Path) -> None:
    html = unescape((site / "results.html").read_text())
    files = {path: path.read_text() for path in REPO.glob("experiments/*/results.md")}
    assert html.count("<table>") == len(files) > 1  # the first table of each
    for path, text in files.items():
        for cell in text.splitlines()[2].strip("|").split("|"):
            assert f">{cell.strip()}<" in html, (path, cell)


@pytest.mark.parametrize("path", WITH_COMMANDS, ids=lambda path: path.relative_to(REPO).as_posix())
def test_commands_are_understood(path: Path, shown: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shown.home)
    for command in commands(path.read_text()):
        understood(command, shown.runs)


def test_a_wrong_command_is_found(shown: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shown.home)
    for command in (
        "condgen fit -c RUN --model.generatr.width 3",
        "condgen sample --ckpt RUN --setps 3",
        "condgen compare RUN --ot x.html",
        "condgen data check",
    ):
        with pytest.raises(AssertionError, match=re.escape(command)):
            understood(command, shown.runs)


def test_the_first_model_of_the_tutorial_is_trained_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = (DOCS / "examples" / "first_model.py").read_text().replace("max_steps=1000", "max_steps=3")
    exec(compile(code, "first_model.py", "exec"), {})
    assert (tmp_path / "digits.png").is_file()
    assert "label_accuracy" in capsys.readouterr().out


def test_the_examples_work_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (DOCS / "examples").glob("my_*"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    configs = [word for name in ("data", "model", "condition", "metric") for word in ("-c", f"my_{name}.yaml")]
    trust = ["--trust", "my_data,my_model", "--trust", "my_condition", "--trust=my_metric"]
    assert main(["fit", *ONE_BATCH, *configs, "--model.net.width", "8", "--evaluation.n_samples", "20", *trust]) == 0
    (run,) = Path("runs/flow").iterdir()
    assert main(["test", "-c", str(run), "--ckpt_path", str(run), *trust]) == 0
    assert "radius_error" in capsys.readouterr().out
    ask = ["--attributes", "radius=2.5", "--trust", "my_model,my_condition"]
    assert main(["sample", "--ckpt", str(run), *ask, "--n", "2"]) == 0
    assert Path("samples.png").is_file()


def test_the_sweep_is_of_options_that_exist(shown: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shown.home)
    sweep = yaml.safe_load((DOCS / "examples" / "sweep.yaml").read_text())
    chosen = {key: entry.get("value", entry.get("values", [None])[-1]) for key, entry in sweep["parameters"].items()}
    words = [word for word in sweep["command"] if word != "${args}"]
    understood(" ".join([*words, *(f"--{key}={value}" for key, value in chosen.items())]), shown.runs)


def test_configs_that_pages_name_are_there() -> None:
    for path in PAGES:
        for name in re.findall(r"\b(?:model|condition|data|logger|trainer)/\w+\.yaml", path.read_text()):
            assert (REPO / "configs" / name).is_file() or name.startswith("data/photos"), (path, name)


def test_the_lines_that_troubleshooting_quotes_are_said() -> None:
    source = "".join(path.read_text() for path in sorted((REPO / "condgen").rglob("*.py")))
    said = " ".join(re.sub(r'"\s+f?"', "", source).split())  # strings that go on in the next line
    quoted = re.findall(r"^\| `([^`]+)`", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    lines = [line for line in quoted if " " in line and not line.startswith("label_")]
    assert len(lines) > 15
    for line in lines:
        known = VALUES.sub("…", line)
        for part in filter(None, (part.strip(" ;:,") for part in known.split("…"))):
            assert part in said, f"{line}: no {part!r}"
