"""Tables of the results, a section for each kind of part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from condgen.bench import markdown
from experiments.bench.figures import figures_table

COMPARED = {
    "work": "work",
    "comparison": "comparison",
    "peer_name": "peer",
    "ours": "ours, images/s",
    "peer": "peer, images/s",
    "ratio": "ratio",
    "ratio_min_max": "least to most",
    "noise": "same against itself",
    "of_peak": "ours, of peak",
    "peer_of_peak": "peer, of peak",
    "first_step_seconds": "our first step, s",
    "contended": "contended",
}
OVERHEAD = {
    **{key: COMPARED[key] for key in ("work", "comparison", "ratio", "ratio_min_max", "noise")},
    "ms_per_step": "ms/step",
    "peer_ms_per_step": "by hand, ms/step",
    "more_ms_per_step": "more, ms/step",
    "contended": "contended",
}
LEVERS = {key: COMPARED[key] for key in ("work", "comparison", "ratio", "ratio_min_max", "noise", "contended")}
LEVERS |= {"ours": "images/s", "first_step_seconds": "first step, s"}
GROWTH = {
    "work": "work",
    "comparison": "size",
    "ratio": "ratio",
    "gflop_per_step": "GFLOP/step",
    "ms_per_step": "ms/step",
    "predicted_ms": "predicted",
    "error": "error",
    "contended": "contended",
}
MEMORY = {
    "work": "work",
    "comparison": "size",
    "mib": "MiB",
    "memory_ratio": "of that of 32",
    "ratio": "speed, of that of 32",
}
SCALING = {
    "work": "work",
    "comparison": "comparison",
    "ours": "2 processes, images/s",
    "peer": "1 process, images/s",
    "ratio": "ratio",
    "ratio_min_max": "least to most",
}
STREAMED = {"work": "work", "comparison": "size", "ours": "images/s", "mib": "MiB more than before"}
FRECHET = {
    "work": "work",
    "comparison": "comparison",
    "peer_name": "peer",
    "seconds": "ours, s",
    "peer_seconds": "peer, s",
    "ratio": "ratio",
    "relative_difference": "relative difference",
    "error": "error in a case known exactly",
}
QUALITY = {
    "work": "work",
    "comparison": "comparison",
    "ours": "ours",
    "peer": "peer",
    "ratio": "ratio",
    "difference": "difference",
    "spread": "larger spread of seeds",
    "label_accuracy": "label accuracy",
}


class Section(NamedTuple):
    """Rows of parts whose names begin alike, and what is said above their table."""

    title: str
    begins: tuple[str, ...]
    columns: Mapping[str, str]
    text: str


SECTIONS = (
    Section(
        "Training beside peers",
        ("peers/",),
        COMPARED,
        "`defaults`: both as they are shipped. `fp32` and `bf16`: condgen in that precision, the peer as shipped, "
        "which is in fp32. `by hand`: the same nets and levers in a loop without Lightning, checks and logs.",
    ),
    Section("Sampling beside peers", ("sampling/step", "sampling/whole"), COMPARED, "One core, batch 16."),
    Section(
        "Samples written as they come",
        ("sampling/streamed",),
        STREAMED,
        "`condgen sample`, start and first chunk left out of memory, but not of the time.",
    ),
    Section("Overhead", ("overhead/",), OVERHEAD, "`condgen fit` beside a loop by hand, both in fp32."),
    Section(
        "Levers",
        ("levers/",),
        LEVERS,
        "A config in fp32 with one thing changed, against the config as it is. Below 1 is slower: those that did not "
        "help are here too.",
    ),
    Section(
        "Growth of cost",
        ("growth/",),
        GROWTH,
        "A step takes a fixed time and its operations over a rate, both fitted to the smallest and the largest size; "
        "`error` is how far off that is for the one between.",
    ),
    Section("Memory", ("memory/",), MEMORY, "Most memory of a training step, beyond that before the first."),
    Section("Two processes", ("scaling/",), SCALING, "On two cores, against one on one; Lightning's DDP over gloo."),
    Section("Arithmetic of the Fréchet distance", ("evaluation/frechet",), FRECHET, "Seconds of the processor."),
    Section("Features", ("evaluation/features",), COMPARED, "One chunk of the MNIST extractor."),
    Section("Quality", ("quality/",), QUALITY, "What speed does to it; of `fd` less is better."),
    Section("On a GPU", ("gpu/",), COMPARED, "bf16, against fp32 and compiled."),
)


def report(done: Mapping[str, Any]) -> str:
    """Return the whole report as Markdown: first the table of figures, which the documents show."""
    lines = [figures_table(done["rows"]), told(done), ""]
    for section in SECTIONS:
        rows = [row for row in done["rows"] if row["part"].startswith(section.begins)]
        if rows:
            lines += [f"## {section.title}", "", section.text, "", markdown(rows, section.columns), ""]
    return "\n".join(lines)


def told(done: Mapping[str, Any]) -> str:
    """Name the machine and what it reaches."""
    machine = done["machine"]
    rates = [
        f"{name} of {dtype} {rate:,.0f}" for dtype, kernels in done["peaks"].items() for name, rate in kernels.items()
    ]
    return (
        f"{machine['processor']}, {machine['cores']} cores, {', '.join(machine['bf16']) or 'no fast bfloat16'}, "
        f"torch {machine['torch']}, one thread on one core. Peaks in GFLOP/s: {', '.join(rates)}. "
        f"All parts took {sum(done['seconds'].values()) / 60:.0f} minutes."
    )
