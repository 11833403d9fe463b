"""What the configs of a run name: its data, and the extractor that it was scored by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from condgen.data import ImageDataModule
from condgen.metrics import DigitsExtractor, Extractor, InceptionExtractor, MNISTExtractor
from condgen.metrics.inception import weights_in_hub
from condgen.models.plain import class_path
from condgen.report.runs import Run
from condgen.yaml_file import read_yaml

Card = dict[str, Any]
"""`class_path` and `init_args` of an object."""


class Builders(NamedTuple):
    """Make what a card names, of packages that it may name; each raises ValueError if it cannot.

    data: Makes a data module.
    extractor: Makes an extractor, given where the card is from.
    """

    data: Callable[[Card], ImageDataModule]
    extractor: Callable[[Card, str], Extractor]


SHIPPED: dict[str, type[Extractor]] = {
    "digits": DigitsExtractor,
    "mnist": MNISTExtractor,
    "inception": InceptionExtractor,
}
"""Extractors that are known by their name alone."""


def data_card(run: Run) -> Card:
    """Read the data module of a run's config, told to download nothing, and without what changes training batches.

    Raises:
        ValueError: If there is no config, or no data in it.
    """
    files = configs(run.trained, run.folder)
    if not files:
        raise ValueError("the run has no config.yaml")
    card = card_in(read(files[0]), "data")
    if card is None:
        raise ValueError(f"{files[0]} names no data")
    for name, value in (("download", False), ("augment", None)):
        if name in card["init_args"]:
            card["init_args"][name] = value
    return card


def scored_by(run: Run, build: Builders) -> Extractor:
    """Make the extractor that scored a run, known by its hash; nothing is downloaded.

    Raises:
        ValueError: If there was none, or it is not here any more.
    """
    due = run.protocol.get("extractor")
    if not isinstance(due, Mapping):
        raise ValueError("no extractor scored it")
    reason = f"its extractor {due.get('name')} is named by no config"
    for card, origin in extractor_cards(run, str(due.get("name"))):
        try:
            extractor = build.extractor(card, origin)
        except ValueError as error:
            reason = str(error)
            continue
        if extractor.sha256 == due.get("sha256"):
            return extractor
        reason = f"the extractor {due.get('name')} that scored it is not the one of {origin}"
    raise ValueError(reason)


def extractor_cards(run: Run, name: str) -> Iterator[tuple[Card, str]]:
    """Yield the cards of extractors that may be the one, and where each is from: a config of the run, or condgen."""
    for file in configs(run.folder, run.trained):
        card = card_in(read(file).get("evaluation"), "extractor")
        if card is not None:
            yield without_download(card), str(file)
    if name in SHIPPED:
        yield without_download({"class_path": class_path(SHIPPED[name]), "init_args": {}}), "condgen"


def without_download(card: Card) -> Card:
    """Name Inception's weights where they are kept, so that they are not fetched if they are not there."""
    if card["class_path"].rpartition(".")[2] == InceptionExtractor.__name__:
        card["init_args"]["weights_path"] = card["init_args"].get("weights_path") or str(weights_in_hub())
    return card


def configs(*folders: Path | None) -> list[Path]:
    """List the configs that there are in some folders."""
    files = [folder / "config.yaml" for folder in folders if folder is not None]
    return [file for file in dict.fromkeys(files) if file.is_file()]


def read(file: Path) -> Mapping[str, Any]:
    """Read a config; what is no mapping is taken as empty.

    Raises:
        ValueError: If it is no YAML.
    """
    content = read_yaml(file)
    return content if isinstance(content, Mapping) else {}


def card_in(content: object, key: str) -> Card | None:
    """Return the card that stands under a key, if there is one."""
    card = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(card, Mapping) or not isinstance(card.get("class_path"), str):
        return None
    return {"class_path": card["class_path"], "init_args": dict(card.get("init_args") or {})}
