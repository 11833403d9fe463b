"""Tables and plots of the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.mnist.reference import FEW
from experiments.results import spread

NAMES = {"cgan": "CGAN (MLP)", "dcgan": "DCGAN", "vae": "VAE", "ddpm": "DDPM"}
BRIEF = ("label_accuracy", "fd_mnist", "in floors", "recall", "coverage")
SCORES = ("label_accuracy", "precision", "recall", "density", "coverage", "cas")


def rows_of(results: dict[str, Any], model: str) -> list[dict[str, Any]]:
    return [row for row in results["rows"] if row["model"] == model]


def main_table(results: dict[str, Any]) -> str:
    """One line per model, mean and standard deviation over seeds; the last line is what training images get."""
    floor = results["reference"]["fd_mnist_floor"]["mean"]
    lines = [
        "| model | seeds | cores | minutes | label accuracy | fd_mnist | in floors | precision | recall | density "
        "| coverage | CAS | seconds for 10,000 |",
        "| --- " + "| ---: " * 12 + "|",
    ]
    for model, name in NAMES.items():
        rows = rows_of(results, model)
        if not rows:
            continue
        scores = {key: [row["scores"][key] for row in rows] for key in (*SCORES, "fd_mnist")}
        minutes, seconds = ([row[key] for row in rows] for key in ("train_minutes", "sample_seconds"))
        fd = [spread(scores["fd_mnist"]), spread([value / floor for value in scores["fd_mnist"]], 1)]
        cores = ", ".join(str(count) for count in sorted({row["cores"] for row in rows}))
        cells = [f"{len(rows)}", cores, spread(minutes, 1), spread(scores["label_accuracy"], 4), *fd]
        cells += [*(spread(scores[key]) for key in SCORES[1:-1]), spread(scores["cas"], 4), spread(seconds, 0)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    real = results["reference"]["training_images"]
    cells = [f"{real['label_accuracy']:.4f}", f"{floor:.3f}", "1.0", *(f"{real[key]:.3f}" for key in SCORES[1:-1])]
    lines.append(f"| training images | | | | {' | '.join(cells)} | {real['cas']:.4f} | |")
    return "\n".join(lines) + "\n"


def reference_table(results: dict[str, Any]) -> str:
    reference = results["reference"]
    floor, few = reference["fd_mnist_floor"], reference[f"fd_mnist_floor_{FEW}"]
    lines = ["| images in the place of samples | fd_mnist | in floors | label accuracy | recall | coverage |",
             "| --- | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for name, row in {"training images": reference["training_images"], **reference["spoilt"]}.items():
        lines.append(
            f"| {name} | {row['fd_mnist']:.3f} | {row['fd_mnist'] / floor['mean']:.1f} | {row['label_accuracy']:.4f} "
            f"| {row['recall']:.3f} | {row['coverage']:.3f} |"
        )
    floors = [
        f"{n:,} images: {row['mean']:.4f}, sd {row['sd']:.4f} over {len(row['values'])} draws"
        for n, row in ((reference["n"], floor), (FEW, few))
    ]
    return "\n".join(lines) + f"\n\nFloor, the distance of random training images, for {'; for '.join(floors)}.\n"


def weights_table(results: dict[str, Any]) -> str:
    lines = [
        f"| model, {FEW:,} samples | weights | {' | '.join(BRIEF)} |",
        "| --- | --- " + "| ---: " * len(BRIEF) + "|",
    ]
    for model, name in NAMES.items():
        for kind in ("averaged", "raw"):
            rows = [brief(row[f"{kind}_scores_{FEW}"]) for row in rows_of(results, model)]
            if rows:
                cells = [spread([row[key] for row in rows]) for key in BRIEF]
                lines.append(f"| {name} | {kind} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def brief(scores: dict[str, float]) -> dict[str, float]:
    return {**scores, "in floors": scores["fd_mnist"] / scores["fd_mnist_floor"]}


def sweep(results: dict[str, Any]) -> list[dict[str, float]]:
    return next((row[f"guidance_{FEW}"] for row in results["rows"] if f"guidance_{FEW}" in row), [])


def guidance_table(results: dict[str, Any]) -> str:
    if not sweep(results):
        return "Not measured yet.\n"
    names = ("label_accuracy", "fd_mnist", "in floors", "precision", "recall", "coverage")
    lines = [f"| guidance | {' | '.join(names)} |", "| ---: " * (len(names) + 1) + "|"]
    for scores in sweep(results):
        row = brief(scores)
        lines.append(f"| {row['guidance']:g} | " + " | ".join(f"{row[key]:.3f}" for key in names) + " |")
    return "\n".join(lines) + "\n"


def likelihood_table(results: dict[str, Any]) -> str:
    names = ("elbo", "iwae_64", "reconstruction_psnr")
    lines = ["| model | ELBO | IWAE bound, 64 samples | PSNR of reconstructions |", "| --- | ---: | ---: | ---: |"]
    rows = [row["scores"] for row in rows_of(results, "vae")]
    if rows:
        lines.append("| VAE | " + " | ".join(spread([row[name] for row in rows], 2) for name in names) + " |")
    return "\n".join(lines) + "\n"


def machines(results: dict[str, Any]) -> str:
    """Name what the rows were measured on."""
    found = {
        f"{row['machine']['processor']} ({row['machine']['cpu_capability']}), of whose {row['machine']['cores']} cores "
        f"each row had as many as the table says, torch {row['machine']['torch']}"
        for row in results["rows"]
    }
    return f"Measured on {' and '.join(sorted(found))}.\n" if found else ""


def report(results: dict[str, Any]) -> str:
    """Everything, for results.md."""
    parts = [
        main_table(results),
        machines(results),
        "## What the distance sees\n\n" + reference_table(results),
        "## Averaged and raw weights\n\n" + weights_table(results),
        f"## Guidance, DDPM, seed 0, {FEW:,} samples, else as in the manifest\n\n" + guidance_table(results),
        "## Likelihood, nats on binarised data, the first 1,000 test images\n\n" + likelihood_table(results),
    ]
    return "\n".join(parts)


def plot_guidance(results: dict[str, Any], path: Path) -> None:
    """Draw scores against the scale from 1 on; that of 0, without a condition, would dwarf all else."""
    rows = [row for row in sweep(results) if row["guidance"] >= 1]
    if not rows:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for axis, name in zip(axes, ("label_accuracy", "recall", "fd_mnist"), strict=True):
        axis.plot([row["guidance"] for row in rows], [row[name] for row in rows], marker="o")
        axis.set(xlabel="guidance scale", title=f"{name}, {FEW:,} samples")
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
