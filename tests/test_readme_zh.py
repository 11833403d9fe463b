"""README.zh.md says what README.md says: the same headings, commands, code, names, tables of results and links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import REPO

from experiments import results

EACH_OTHER = {"README.md", "README.zh.md"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHINESE = re.compile(r"[一-鿿]")


@pytest.fixture
def english() -> str:
    return (REPO / "README.md").read_text()


@pytest.fixture
def chinese() -> str:
    return (REPO / "README.zh.md").read_text()


def prose(text: str) -> str:
    return BLOCK.sub("", text)


def headings(text: str) -> list[int]:
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(text), re.MULTILINE)]


def code(text: str) -> list[tuple[str, list[str]]]:
    """Return the language of each block, and its lines without what is told in words."""

    def bare(line: str) -> str:
        return re.sub(r"( +#.*|(?<=\S) {2,}[^#\s].*)$", "", line)

    return [(language, [bare(line) for line in body.splitlines()]) for language, body in BLOCK.findall(text)]


def links(text: str) -> list[str]:
    return [link for link in re.findall(r"\]\(([^)]+)\)", prose(text)) if link not in EACH_OTHER]


def names(text: str) -> list[str]:
    return sorted(re.findall(r"`[^`\n]+`", prose(text)))


def tables(text: str) -> list[list[str]]:
    """Return the rows of each table."""
    return [found.strip().splitlines() for found in re.findall(r"(?:^\|.*\n)+", prose(text), re.MULTILINE)]


def test_headings_code_links_and_names_are_the_same(english: str, chinese: str) -> None:
    for part in (headings, code, links, names):
        assert part(chinese) == part(english), part.__name__


def test_tables_have_the_same_rows(english: str, chinese: str) -> None:
    assert len(tables(chinese)) == len(tables(english))
    for ours, theirs in zip(tables(chinese), tables(english), strict=True):
        assert len(ours) == len(theirs)
        for row, other in zip(ours[2:], theirs[2:], strict=True):
            first, also = row.split("|")[1], other.split("|")[1]
            assert first == also or "`" not in also
            assert re.findall(r"\d+(?:[.,]\d+)*", row) == re.findall(r"\d+(?:[.,]\d+)*", other)


def test_every_paragraph_is_there_and_is_chinese(english: str, chinese: str) -> None:
    paragraphs = [
        [
            part
            for part in re.split(r"\n\s*\n", prose(text))
            if part.strip() and not re.match(r"<!--|\||#|!\[|\[\S+\]\(README", part)
        ]
        for text in (english, chinese)
    ]
    assert len(paragraphs[0]) == len(paragraphs[1])
    assert all(CHINESE.search(part) for part in paragraphs[1])
    assert all(CHINESE.search(line) for line in re.findall(r"^#{2,} .*", prose(chinese), re.MULTILINE))


def test_each_leads_to_the_other(english: str, chinese: str) -> None:
    assert "](README.zh.md)" in english
    assert "](README.md)" in chinese


def test_tables_of_results_go_into_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "READMES", [tmp_path / name for name in sorted(EACH_OTHER)])
    for path in results.READMES:
        path.write_text("before\n<!-- x results: how -->\nold\n<!-- end x -->\nafter\n")
    results.into_readme("x", "new\n")
    for path in results.READMES:
        assert path.read_text() == "before\n<!-- x results: how -->\nnew\n<!-- end x -->\nafter\n"


def test_a_difference_is_found(english: str) -> None:
    assert headings(english.replace("## Limits", "### Limits")) != headings(english)
    assert code(english.replace("condgen info RUN ", "condgen infos RUN ")) != code(english)
    assert links(english.replace("](docs/tutorial.md)", "](docs/index.md)")) != links(english)
    assert names(english.replace("`wandb sync`", "`wandb login`")) != names(english)
