"""What happens beside training: scores, pictures, checkpoints, progress."""

from condgen.callbacks.checkpoint import Checkpoint
from condgen.callbacks.collapse_watch import CollapseWatch
from condgen.callbacks.compile_nets import CompileNets
from condgen.callbacks.evaluate_likelihood import EvaluateLikelihood
from condgen.callbacks.evaluate_samples import EvaluateSamples
from condgen.callbacks.export_recogniser import ExportRecogniser
from condgen.callbacks.predictions import WritePredictions
from condgen.callbacks.progress import RunProgress
from condgen.callbacks.run_folder import run_folder
from condgen.callbacks.run_log import RunLog
from condgen.callbacks.sample_grid import SampleGrid
from condgen.callbacks.training_time import TrainingTime
from condgen.callbacks.wandb_log import WandbLog

__all__ = [
    "Checkpoint",
    "CollapseWatch",
    "CompileNets",
    "EvaluateLikelihood",
    "EvaluateSamples",
    "ExportRecogniser",
    "RunLog",
    "RunProgress",
    "SampleGrid",
    "TrainingTime",
    "WandbLog",
    "WritePredictions",
    "run_folder",
]
