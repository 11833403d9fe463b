"""Pages that are made of files outside `docs`: the experiments' READMEs, tables and pictures, and the notebooks."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPO = Path(__file__).resolve().parents[2]
SHOWN = {".md", ".json", ".png", ".yaml"}
FOLDER_LINK = re.compile(r"(\]\((?:\.\./)*[\w/-]+)\)")
RESULTS = "<!-- results -->"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""What terminals read as colours."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the gathered pages to the navigation."""
    sections = {name: pages for section in config.nav or [] for name, pages in section.items()}
    sections["Results"] += [page_of(readme) for readme in readmes()]
    sections["Notebooks"] += [f"notebooks/{path.stem}.md" for path in notebooks()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the gathered files."""
    for path in sorted(REPO.glob("experiments/**/*")):
        if path.suffix in SHOWN:
            files.append(File.generated(config, page_of(path), abs_src_path=str(path)))
    for folder in sorted({path.parent for path in REPO.glob("experiments/*/*/*.png")}):
        pictures = [f"## {path.stem}\n\n![{path.stem}]({path.name})" for path in sorted(folder.glob("*.png"))]
        text = "\n\n".join([f"# Pictures of {folder.parent.name}", *pictures])
        files.append(File.generated(config, page_of(folder / "README.md"), content=text))
    for path in notebooks():
        for uri, content in notebook_files(path):
            files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links of READMEs to folders lead to pages; put the experiments' tables where they are asked for."""
    if page.file.src_uri.startswith("experiments/"):
        return FOLDER_LINK.sub(r"\1/README.md)", markdown)
    return markdown.replace(RESULTS, "\n\n".join(result_sections()))


def page_of(path: Path) -> str:
    """Return a file's place among the pages."""
    return path.relative_to(REPO).as_posix()


def readmes() -> list[Path]:
    """List the experiments' READMEs."""
    return sorted(REPO.glob("experiments/*/README.md"))


def notebooks() -> list[Path]:
    """List the notebooks."""
    return sorted(REPO.glob("notebooks/*.ipynb"))


def result_sections() -> Iterator[str]:
    """Yield, for each experiment with a table of results, its title and the table as the experiment wrote it."""
    for readme in readmes():
        results = readme.with_name("results.md")
        if results.is_file():
            title = readme.read_text().partition("\n")[0].lstrip("# ")
            table = results.read_text().strip().partition("\n\n")[0]
            yield f"## {title}\n\n{table}\n\n[How it was measured]({page_of(readme)})"


def notebook_files(path: Path) -> Iterator[tuple[str, str | bytes]]:
    """Yield a notebook's page, and the pictures in its outputs."""
    place, parts = f"notebooks/{path.stem}", []
    for number, cell in enumerate(json.loads(path.read_text())["cells"]):
        source = "".join(cell["source"]).replace("](../docs/", "](../")
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for i, output in enumerate(cell.get("outputs", [])):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}-{number}-{i}.png"
                parts.append(f"![]({name})")
                yield f"notebooks/{name}", b64decode(data["image/png"])
            elif "text/markdown" in data:
                parts.append("".join(data["text/markdown"]))
            else:
                text = COLOUR.sub("", "".join(output.get("text") or data.get("text/plain") or "")).rstrip()
                parts.extend([f"```text\n{text}\n```"] if text else [])
    yield f"{place}.md", "\n\n".join(parts)
