"""Diffusion: the forward process, its noise schedules, and samplers that go back."""

from condgen.processes.diffusion import CLEAN, Diffusion, Level, posterior
from condgen.processes.guidance import Term, nested
from condgen.processes.samplers import DDIM, Ancestral, DiffusionSampler, DPMSolver
from condgen.processes.schedule import CosineSchedule, LinearSchedule, NoiseSchedule

__all__ = [
    "CLEAN",
    "DDIM",
    "Ancestral",
    "CosineSchedule",
    "DPMSolver",
    "Diffusion",
    "DiffusionSampler",
    "Level",
    "LinearSchedule",
    "NoiseSchedule",
    "Term",
    "nested",
    "posterior",
]
