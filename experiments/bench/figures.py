"""What the bench is to show, and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from condgen.bench import markdown

Row = Mapping[str, Any]
COLUMNS = {"work": "work", "peer": "against", "due": "due", "found": "found", "fp32": "fp32 against fp32", "met": "met"}


class Figure(NamedTuple):
    """One line.

    Attributes:
        work: What is done.
        peer: What it is compared with.
        part: Where the rows are.
        comparison: Beginning of the row's comparison.
        peer_name: Beginning of the peer's name.
        value: What counts of the row.
        due: What it must be.
        holds: Whether a value is as is due.
        fp32: Comparison that gives the ratio of float32 to float32; null for none.
    """

    work: str
    peer: str
    part: str
    comparison: str
    value: Callable[[Row], Any]
    due: str
    holds: Callable[[Any], bool]
    peer_name: str = ""
    fp32: str | None = None


def ratio(row: Row) -> Any:
    return row["ratio"]


def of_peak(row: Row) -> Any:
    return row.get("of_peak")


def within_spread(row: Row) -> Any:
    return abs(row["difference"]) <= row["spread"]


def flops_of_peer(row: Row) -> Any:
    """Return our operations per image over the peer's."""
    return round(row["gflop_per_image"] / row["peer_gflop_per_image"], 3)


def at_least(least: float) -> Callable[[Any], bool]:
    return lambda value: value >= least


def at_most(most: float) -> Callable[[Any], bool]:
    return lambda value: value <= most


def about(most: float) -> Callable[[Any], bool]:
    return lambda value: abs(value - 1) <= most


def trained(name: str, work: str, peer: str, least: float, peer_name: str = "") -> Figure:
    """Return the line of a training beside a peer, defaults against defaults."""
    due = f">= {least} x"
    return Figure(work, peer, f"peers/{name}", "defaults", ratio, due, at_least(least), peer_name, "fp32")


FIGURES = (
    trained("cgan", "CGAN training", "PyTorch-GAN's cgan", 2.2),
    trained("dcgan", "DCGAN training", "PyTorch-GAN's dcgan", 2.7),
    trained("vae", "VAE training", "pytorch/examples", 3.2),
    trained("pythae", "VAE training", "pythae", 2.8),
    trained("ddpm", "DDPM training", "denoising-diffusion-pytorch", 2.8, "denoising"),
    trained("ddpm", "DDPM training", "diffusers' U-Net, tight loop", 1.4, "diffusers"),
    Figure(
        "its operations per image",
        "diffusers' U-Net",
        "peers/ddpm",
        "fp32",  # in bfloat16 our attention is counted as products of matrices, theirs by its own formula
        flops_of_peer,
        "within 5%",
        about(0.05),
        "diffusers",
    ),
    Figure("its fd for equal images", "diffusers' U-Net", "quality/unets", "", ratio, "<= 1 x", at_most(1.0)),
    *(
        Figure(
            f"steps of 10 ms and more: {name}",
            "loop by hand",
            f"overhead/{name}",
            "condgen",
            ratio,
            ">= 0.97 x",
            at_least(0.97),
        )
        for name in ("cgan", "vae", "ddpm")
    ),
    *(
        Figure(
            f"{name}: more ms a step",
            "loop by hand",
            f"overhead/{name}",
            "condgen",
            lambda row: row["more_ms_per_step"],
            "<= 0.4",
            at_most(0.4),
        )
        for name in ("digits", "tiny_cgan", "tiny_vae")
    ),
    Figure(
        "fd by 20 steps of DPM-Solver++",
        "250 steps of DDIM",
        "quality/solver",
        "DPM-Solver++, 20",
        ratio,
        "<= 1.1 x",
        at_most(1.1),
    ),
    Figure("U-Net training, of the bf16 peak", "-", "peers/ddpm", "both bf16", of_peak, "> 0.56", at_least(0.56)),
    Figure(
        "one sampling step, bf16",
        "diffusers' U-Net, bf16",
        "sampling/step",
        "both bf16",
        ratio,
        ">= 1.053 x",
        at_least(1 / 0.95),
        "diffusers' U-Net, autocast",
    ),
    Figure("DCGAN training, of the bf16 peak", "-", "peers/dcgan", "bf16", of_peak, ">= 0.79", at_least(0.79)),
    Figure(
        "Fréchet distance of 2,048 features",
        "scipy's sqrtm",
        "evaluation/frechet",
        "from Gaussians",
        ratio,
        ">= 7 x",
        at_least(7),
    ),
    Figure(
        "its error", "-", "evaluation/frechet", "from Gaussians", lambda row: row["error"], "<= 1e-9", at_most(1e-9)
    ),
    *(
        Figure(
            f"2 processes on 2 cores, {how} scaling", "1 on 1", "scaling/dcgan", how, ratio, ">= 1.7 x", at_least(1.7)
        )
        for how in ("weak", "strong")
    ),
    Figure("cost per image, 10 x the images", "-", "growth/images", "training", ratio, "within 5%", about(0.05)),
    *(
        Figure(
            f"{model}, {score}: bf16 within the seeds' spread",
            "fp32",
            f"quality/{model}",
            score,
            within_spread,
            "yes",
            bool,
        )
        for model in ("cgan", "dcgan")
        for score in ("label_accuracy", "fd_mnist")
    ),
)


def figures_table(rows: Sequence[Row]) -> str:
    """Return the table of what was measured of all that is due."""
    return markdown([line_of(figure, rows) for figure in FIGURES], COLUMNS) + "\n"


def line_of(figure: Figure, rows: Sequence[Row]) -> dict[str, Any]:
    """Return a line, which says so if nothing was measured."""
    row = find(rows, figure, figure.comparison)
    value = None if row is None else figure.value(row)
    if value is None:
        return {"work": figure.work, "peer": figure.peer, "due": figure.due, "found": "not measured", "met": "no"}
    full = None if figure.fp32 is None else find(rows, figure, figure.fp32)
    met = figure.holds(value)
    contended = row is not None and bool(row.get("contended"))
    return {
        "work": figure.work,
        "peer": figure.peer,
        "due": figure.due,
        "found": value if isinstance(value, bool) else f"{value:.3g}",
        "fp32": None if full is None else f"{full['ratio']:.3g}",
        "met": ("yes" if met else "no") + (", contended" if contended else ""),
    }


def find(rows: Sequence[Row], figure: Figure, comparison: str) -> Row | None:
    """Return a figure's row."""
    return next(
        (
            row
            for row in rows
            if row["part"] == figure.part
            and row["comparison"].startswith(comparison)
            and (row.get("peer_name") or "").startswith(figure.peer_name)
        ),
        None,
    )
