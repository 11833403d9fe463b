"""What the experiments share: condgen's verbs, the machine's name, files written whole, and tables in the README."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

ROOT = Path(__file__).parent.parent


def condgen(verb: str, *args: str, threads: int | None = None) -> None:
    """Run a verb, each of its processes on so many threads; null for as many as there are cores."""
    env = os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    subprocess.run([sys.executable, "-m", "condgen", verb, *args], check=True, cwd=ROOT, env=env)


def newest(runs: Path, name: str, suffix: str = "") -> Path:
    """Return the last run's folder of a name; those of other verbs end with the verb."""
    return max(path for path in (runs / name).iterdir() if path.name.endswith(suffix))


def machine() -> dict[str, Any]:
    """Name what the figures were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(part, path)


READMES = [ROOT / "README.md", ROOT / "README.zh.md"]


def into_readme(name: str, table: str, *readmes: Path) -> None:
    """Put a table between its two marks in READMEs; those of the project unless others are named."""
    for readme in readmes or READMES:
        text, count = re.subn(
            rf"(<!-- {name} results.*? -->\n).*?(<!-- end {name} -->)",
            lambda found: f"{found[1]}{table}{found[2]}",
            readme.read_text(),
            flags=re.DOTALL,
        )
        assert count == 1, f"{readme} has {count} tables {name}"
        readme.write_text(text)


def spread(values: list[float], digits: int = 3) -> str:
    """Write mean and standard deviation, the latter where there is more than one value."""
    if not values:
        return ""
    out = f"{mean(values):.{digits}f}"
    return f"{out} ± {stdev(values):.{digits}f}" if len(values) > 1 else out
