"""Change one setting of a recipe at a time, and record what becomes of the scores.

python -m experiments.ablations.run dcgan --root FOLDER [--only NAME,NAME]

Each variant is one run of `condgen fit` with one seed and a short budget, scored on the validation split; variants that
the study's JSON file holds already are skipped. Studies are the YAML files beside this one.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import yaml

from experiments.results import condgen, machine, newest, write_json

HERE = Path(__file__).parent
SHOWN = ("label_accuracy", "fd", "precision", "recall", "coverage")


def fit(study: dict[str, Any], name: str, options: list[str], runs: Path) -> tuple[Path, float]:
    configs = [word for config in study["configs"] for word in ("-c", config)]
    start = time.perf_counter()
    condgen("fit", *configs, *study.get("options", []), *options, "--runs", str(runs), "--name", name)
    return newest(runs, name), time.perf_counter() - start


def last_scores(run: Path) -> dict[str, float]:
    """Return the scores of the last validation, by their names without the extractor's."""
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/label_accuracy")]
    found = {
        key.removeprefix("val/"): float(value) for key, value in rows[-1].items() if key.startswith("val/") and value
    }
    return {"images_seen": float(rows[-1]["step"])} | {
        "fd" if key.startswith("fd_") else key: value for key, value in found.items()
    }


def table(study: dict[str, Any], rows: dict[str, dict[str, Any]]) -> str:
    lines = [f"| variant | changed | images | seconds | {' | '.join(SHOWN)} |", "| --- | --- " + "| ---: " * 7 + "|"]
    for name, options in study["variants"].items():
        if name in rows:
            row = rows[name]
            changed = " ".join(f"`{option}`" for option in options) or "nothing"
            cells = [f"{row['images_seen']:,.0f}", f"{row['seconds']:.0f}", *(f"{row[key]:.3f}" for key in SHOWN)]
            lines.append(f"| {name} | {changed} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=sorted(path.stem for path in HERE.glob("*.yaml")))
    parser.add_argument("--root", help="folder of the data's files")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--only", help="names of variants")
    args = parser.parse_args()
    study, path = yaml.safe_load((HERE / f"{args.study}.yaml").read_text()), HERE / f"{args.study}.json"
    results = json.loads(path.read_text()) if path.is_file() else {"machine": machine(), "variants": {}}
    data = ["--data.root", str(Path(args.root).resolve())] if args.root else []
    for name in args.only.split(",") if args.only else study["variants"]:
        if name in results["variants"]:
            continue
        options = study["variants"][name]
        run, seconds = fit(study, f"{args.study}-{name.replace(' ', '-')}", [*data, *options], args.runs.resolve())
        results["variants"][name] = {"options": options, "seconds": round(seconds, 1), **last_scores(run)}
        write_json(path, results)
        (HERE / f"{args.study}.md").write_text(table(study, results["variants"]))
    print(table(study, results["variants"]))


if __name__ == "__main__":
    main()
