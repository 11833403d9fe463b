"""A run that was stopped, in any way and at any moment, goes on as if it had not been."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluate_inputs import Fails
from resume_runs import (
    CGAN,
    FAMILIES,
    SMALL,
    batches_seen,
    check_same,
    equal,
    fit,
    in_child,
    pictures,
    resume,
    rows,
    trained,
)
from torch import Tensor

from condgen.callbacks import EvaluateSamples
from condgen.checkpoints import AtomicCheckpointIO, read_checkpoint
from condgen.cli import lightning as cli  # noqa: F401 - so that children need not import it
from condgen.cli import main
from condgen.cli.lock import locked
from condgen.models import CGAN as CGANModel
from condgen.models.recorded import RecordedModule

Signal = Callable[[int, int], None]


@pytest.fixture
def after_batch(monkeypatch: pytest.MonkeyPatch) -> Signal:
    """Let this process get a signal within a batch, after its work."""

    def arrange(batch: int, signum: int) -> None:
        count, step = {"left": batch}, RecordedModule.training_step

        def training_step(self: RecordedModule, *args: Any) -> Any:
            loss = step(self, *args)
            count["left"] -= 1
            if count["left"] == 0:
                os.kill(os.getpid(), signum)
            return loss

        monkeypatch.setattr(RecordedModule, "training_step", training_step)

    return arrange


@pytest.mark.parametrize(
    "family", ["cgan", "ddpm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dcgan", "vae", "classifier"))]
)
def test_a_killed_run_of_any_family_goes_on(family: str, after_batch: Signal, tmp_path: Path) -> None:
    args = [*FAMILIES[family], "--trainer.max_steps", "13", "--data.augment", "RandomFlip"]
    whole = fit(tmp_path / "whole", *args)

    def killed() -> int:
        after_batch(11, signal.SIGKILL)
        fit(tmp_path / "run", *args)
        return 0

    assert in_child(killed) == -signal.SIGKILL
    (run,) = tmp_path.glob("run/*/*")
    assert batches_seen(run) == 8
    resume(run)
    check_same(run, whole)


# ---------------------------------------------------------------------- positions


BY_EPOCHS = ["--trainer.check_val_every_n_epoch", "1", "--trainer.val_check_interval", "1.0"]


@pytest.mark.parametrize(
    ("limit", "stops"),
    [
        (["--trainer.max_steps", "11"], (3, 5, 10)),
        pytest.param(["--trainer.max_steps", "13"], (1, 2, 4, 6, 7, 8, 9, 11, 12), marks=pytest.mark.slow),
        pytest.param(["--trainer.max_epochs", "3", *BY_EPOCHS], (3, 5, 10), marks=pytest.mark.slow),
        pytest.param(
            ["--trainer.max_steps", "9", "--trainer.limit_train_batches", "4"], (4, 5, 8), marks=pytest.mark.slow
        ),
    ],
)
def test_any_batch_is_a_good_one_to_stop_at(
    limit: list[str], stops: tuple[int, ...], after_batch: Signal, epochs: Epochs, tmp_path: Path
) -> None:
    """In mid-epoch, before a validation, at an epoch's end with and without one, at the end of the second epoch."""
    whole = fit(tmp_path / "whole", *CGAN, *limit)
    told = epochs.take()
    for stop in stops:
        after_batch(stop, signal.SIGTERM)
        run = fit(tmp_path / str(stop), *CGAN, *limit, code=143)
        assert batches_seen(run) == stop
        resume(run)
        check_same(run, whole)
        assert epochs.take() == told, stop


class Epochs:
    """Notes after which batches epochs and validations ended, in all runs since it was last asked."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    def take(self) -> list[tuple[str, int, int]]:
        told, self.told = self.told, []
        return told


@pytest.fixture
def epochs(monkeypatch: pytest.MonkeyPatch) -> Epochs:
    out = Epochs()

    def on_train_epoch_end(self: Any, trainer: Any, model: Any) -> None:
        out.told.append(("epoch", model.batches_seen, trainer.current_epoch))

    def on_validation_end(self: Any, trainer: Any, model: Any) -> None:
        out.told.append(("validation", model.batches_seen, trainer.current_epoch))

    monkeypatch.setattr(EvaluateSamples, "on_train_epoch_end", on_train_epoch_end)
    monkeypatch.setattr(EvaluateSamples, "on_validation_end", on_validation_end)
    return out


@pytest.mark.parametrize(
    ("limit", "ends", "more"),
    [
        ("max_steps", ("7", "10", "13"), []),
        pytest.param("max_epochs", ("1", "2", "3"), BY_EPOCHS, marks=pytest.mark.slow),
    ],
)
def test_a_finished_run_goes_on(
    limit: str, ends: tuple[str, str, str], more: list[str], tmp_path: Path, fails: Fails, epochs: Epochs
) -> None:
    option = f"--trainer.{limit}"
    whole = fit(tmp_path / "whole", *CGAN, *more, option, ends[2])
    validations = [item for item in epochs.take() if item[0] == "validation"]
    run = fit(tmp_path / "run", *CGAN, *more, option, ends[0])
    assert f"of {ends[0]}; raise --trainer.{limit} to go on" in fails("fit", "--resume", str(run))
    resume(run, option, ends[1])
    resume(run, option, ends[2])
    found = equal(trained(run), trained(whole))
    assert not found, found
    assert rows(run) == rows(whole)
    assert pictures(run).items() >= pictures(whole).items()
    assert [item for item in epochs.take() if item[0] == "validation"] == validations
    assert f"{limit}: {ends[2]}" in (run / "config.yaml").read_text()


def test_a_run_whose_time_is_up_goes_on_with_more(tmp_path: Path, fails: Fails) -> None:
    time = "--trainer.max_time"
    run = fit(tmp_path, *CGAN, "--trainer.max_steps", "1000000", time, "00:00:00:01")
    batches = batches_seen(run)
    line = fails("fit", "--resume", str(run))
    assert re.search(r"has trained for \d+ seconds, and trainer.max_time is 00:00:00:01; raise it to go on", line)
    resume(run, time, "{seconds: 2}")
    assert batches_seen(run) > batches
    assert "trainer.max_time is {'seconds': 2}; raise it" in fails("fit", "--resume", str(run))
    more = batches_seen(run)
    resume(run, "--trainer.min_steps", str(2 * more + 4), "--trainer.max_steps", str(2 * more + 10))
    assert batches_seen(run) > more


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("family", ["cgan", pytest.param("vae", marks=pytest.mark.slow)])
def test_the_validation_behind_the_last_batch_is_made_up_for(
    family: str, signum: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: Epochs
) -> None:
    args = [*FAMILIES[family], "--trainer.max_steps", "6", "--checkpoint.every_n_batches", "3"]
    whole = fit(tmp_path / "whole", *args)
    told, validate = epochs.take(), EvaluateSamples.on_validation_epoch_end

    def stopped(self: EvaluateSamples, trainer: Any, model: Any) -> None:
        if model.batches_seen == 6:
            os.kill(os.getpid(), signum)
        validate(self, trainer, model)

    def run() -> int:
        monkeypatch.setattr(EvaluateSamples, "on_validation_epoch_end", stopped)
        return main([*SMALL, "--runs", str(tmp_path / "run"), *args])

    assert in_child(run) == (143 if signum == signal.SIGTERM else -signum)
    (folder,) = tmp_path.glob("run/*/*")
    assert batches_seen(folder) == 6
    resume(folder)
    assert epochs.take() == [item for item in told if item[1] == 6]
    check_same(folder, whole)


def test_a_run_may_end_in_the_epoch_that_it_was_resumed_in(after_batch: Signal, tmp_path: Path) -> None:
    args = [*FAMILIES["vae"], "--trainer.max_steps", "8", "--checkpoint.every_n_batches", "5"]
    whole = fit(tmp_path / "whole", *args)
    after_batch(5, signal.SIGTERM)
    run = fit(tmp_path / "run", *args, code=143)
    assert batches_seen(run) == 5
    resume(run)
    check_same(run, whole)


@pytest.mark.parametrize(
    ("family", "option", "stops"),
    [
        ("cgan", "model.accumulate_grad_batches", ((1, 2), (6, 7))),
        pytest.param("cgan", "model.accumulate_grad_batches", ((4, 4), (5, 5), (8, 9)), marks=pytest.mark.slow),
        pytest.param("vae", "trainer.accumulate_grad_batches", ((1, 2), (5, 5), (6, 7)), marks=pytest.mark.slow),
    ],
)
def test_an_accumulation_window_is_never_cut(
    family: str, option: str, stops: tuple[tuple[int, int], ...], after_batch: Signal, tmp_path: Path
) -> None:
    """Windows are batches 1 and 2, 3 and 4, 5, which ends the epoch, 6 and 7 ..."""
    steps = {"cgan": "12", "vae": "7"}[family]  # optimizer steps of the VAE, which are windows
    args = [*FAMILIES[family], f"--{option}", "2", "--trainer.max_steps", steps, "--checkpoint.every_n_batches", "3"]
    whole = fit(tmp_path / "whole", *args)
    assert batches_seen(whole) == 12
    for asked, stop in stops:
        after_batch(asked, signal.SIGTERM)
        run = fit(tmp_path / str(asked), *args, code=143)
        assert batches_seen(run) == stop
        resume(run)
        check_same(run, whole)

    def killed() -> int:
        after_batch(9, signal.SIGKILL)
        fit(tmp_path / "killed", *args)
        return 0

    assert in_child(killed) == -signal.SIGKILL
    (run,) = tmp_path.glob("killed/*/*")
    assert batches_seen(run) == 7  # the first window's end at or after batch 6
    resume(run)
    check_same(run, whole)


# ---------------------------------------------------------------------- what is refused


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("finished"), *CGAN, "--trainer.max_steps", "5")


def test_changes_are_named_and_refused_unless_they_are_allowed(finished: Path, tmp_path: Path, fails: Fails) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    more, before = ["--resume", str(run), "--trainer.max_steps", "7"], (run / "config.yaml").read_text()
    lr = ["--model.generator_optimizer.lr", "0.25"]
    line = fails("fit", *more, *lr, "--data.batch_size", "96", "--seed_everything", "3", "--checkpoint.keep", "2")
    assert f"--resume {run}: " in line
    assert "model.generator_optimizer.lr is 0.001 there and 0.25 here" in line
    assert "data.batch_size is 192 there and 96 here" in line
    assert "seed_everything is 0 there and 3 here" in line
    assert "checkpoint" not in line
    assert "max_steps" not in line
    line = fails("fit", *more, "--model.loss", "LeastSquares")
    assert "model.loss is 'condgen.objectives.Hinge' there and 'condgen.objectives.LeastSquares' here" in line
    assert (run / "config.yaml").read_text() == before
    assert batches_seen(run) == 5
    resume(run, "--trainer.max_steps", "7", *lr, "--allow_changes")
    assert "lr: 0.25" in (run / "config.yaml").read_text()
    assert "allow_changes" not in (run / "config.yaml").read_text()
    assert batches_seen(run) == 7
    assert rates(run)[0] == 0.25
    resume(run, "--trainer.max_steps", "8")  # what was allowed is the run's config now
    assert rates(run)[0] == 0.25


def rates(run: Path) -> list[float]:
    """Return the learning rates of a run's optimizers, as its checkpoint has them."""
    return [state["param_groups"][0]["lr"] for state in read_checkpoint(run)["optimizer_states"]]


def test_a_new_run_from_a_checkpoint_has_the_settings_of_its_config(finished: Path, tmp_path: Path) -> None:
    lr = ["--model.discriminator_optimizer.lr", "0.125"]
    run = fit(tmp_path, *CGAN, "--trainer.max_steps", "6", "--ckpt_path", str(finished), *lr)
    assert rates(run) == [0.001, 0.125]


def test_losses_that_a_batch_does_not_have_are_taken_up(tmp_path: Path, after_batch: Signal) -> None:
    """The generator has its turn in each third batch, and each second batch is logged."""
    args = [*CGAN, "--model.discriminator_steps", "3", "--trainer.log_every_n_steps", "2"]
    whole = fit(tmp_path / "whole", *args, "--trainer.max_steps", "12")
    after_batch(9, signal.SIGTERM)
    run = fit(tmp_path / "run", *args, "--trainer.max_steps", "12", code=143)
    resume(run)
    check_same(run, whole)
    assert sum("train/generator_loss" in row for row in rows(run)) == 5


@pytest.mark.parametrize(("allowed", "code"), [(2, 0), (1, 1)])
def test_a_run_that_diverges_goes_back_and_learns_more_slowly(
    allowed: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loss_of = CGANModel.generator_loss

    def diverging(self: CGANModel, *args: Any) -> Tensor:
        loss: Tensor = loss_of(self, *args)
        rate = self.optimizers()[0].param_groups[0]["lr"]
        return loss * (float("nan") if self.batches_seen > 4 and rate > 1e-3 else 1.0)

    monkeypatch.setattr(CGANModel, "generator_loss", diverging)
    args = [*SMALL, *CGAN, "--trainer.max_steps", "8", "--checkpoint.every_n_batches", "2"]
    args += ["--model.generator_optimizer.lr", "0.004", "--rollback", str(allowed), "--runs", str(tmp_path)]
    assert main(args) == code
    (run,) = tmp_path.glob("*/*")
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rollback: ")]
    assert len(told) == allowed
    assert "goes back to the last checkpoint, with model.generator_optimizer.lr 0.002, " in told[0]
    assert batches_seen(run) == (8 if code == 0 else 4)
    assert rates(run)[0] == 0.004 / 2 ** (allowed if code == 0 else 0)
    assert f"lr: {0.004 / 2**allowed:g}" in (run / "config.yaml").read_text()


def test_other_data_are_named_and_refused_unless_they_are_allowed(folder: Path, tmp_path: Path, fails: Fails) -> None:
    images = Path(shutil.copytree(folder, tmp_path / "images"))
    data = ["--data", "ImageFolder", "--data.root", str(images), "--data.image_size", "8", "--data.batch_size", "64"]
    run = fit(tmp_path / "runs", *data, *CGAN, "--trainer.max_steps", "1")
    before, count = (run / "config.yaml").read_text(), read_checkpoint(run)["callbacks"]["Checkpoint"]["train_images"]
    (images / "3").rename(images / "other")
    more = ["--resume", str(run), "--trainer.max_steps", "2"]
    line = fails("fit", *more)
    assert f"--resume {run}: the data have changed: data.cond_spec.label.names.3 is '3' there and '4' here" in line
    assert "and 3 more" in line
    (images / "other").rename(images / "3")
    for file in sorted((images / "3").iterdir())[:10]:
        file.unlink()
    line = fails("fit", *more)
    assert re.search(rf"changed: data.train_images is {count} there and \d+ here; restore them", line)
    assert (run / "config.yaml").read_text() == before
    assert batches_seen(run) == 1
    content = read_checkpoint(run)
    del content["callbacks"]["Checkpoint"]["train_images"]
    AtomicCheckpointIO().save_checkpoint(content, run / "checkpoints" / "last.ckpt")
    resume(run, *more[2:])  # as a checkpoint of an older version
    for file in sorted((images / "4").iterdir())[:10]:
        file.unlink()
    resume(run, "--trainer.max_steps", "3", "--allow_changes")
    resume(run, "--trainer.max_steps", "4")  # what was allowed is the run's data now


def test_a_run_without_a_checkpoint_is_an_error(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    monkeypatch.chdir(finished.parent)
    run = Path(shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("*.ckpt")))
    assert f"run folder {run} has no checkpoints/last.ckpt" in fails("fit", "--resume", str(run))
    assert "no run's folder" in fails("fit", "--resume", str(tmp_path / "none"))
    assert "no run's folder" in fails("fit", f"--resume={tmp_path}")
    for nothing in (["--resume"], ["--resume", ""], ["--resume=", "--trainer.max_steps", "7"]):
        assert "--resume is empty, which is no run's folder" in fails("fit", *nothing)
    assert "--ckpt_path is empty" in fails(*SMALL, *CGAN, "--runs", str(tmp_path), "--ckpt_path", "")
    both = ["--resume", str(finished), "--ckpt_path", str(finished), "--trainer.max_steps", "7"]
    assert "not both" in fails("fit", *both)
    assert "no option 'resume'" in fails("test", "--resume", str(finished))


def test_last_is_the_newest_run_of_the_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    begun = [*SMALL, *CGAN, "--runs", str(tmp_path), "--name", "exp/a", "--trainer.max_steps"]
    last = ["--ckpt_path", "last"]
    assert f"--ckpt_path last: {tmp_path}/exp/a has no run with a checkpoint" in fails(*begun, "2", *last)
    assert not list(tmp_path.iterdir())
    assert main([*begun, "2"]) == 0
    (run,) = tmp_path.glob("exp/a/*")
    before = (run / "config.yaml").read_text()
    assert "seed_everything is 0 there and 3 here" in fails(*begun, "3", *last, "--seed_everything", "3")
    assert "not both" in fails(*begun, "3", *last, "--resume", str(run))
    assert (run / "config.yaml").read_text() == before
    assert main([*begun, "3", *last]) == 0
    assert f"goes on from step 2 in {run}" in capsys.readouterr().out
    assert list(tmp_path.glob("exp/a/*")) == [run]
    assert (run / "config.yaml").read_text() == before.replace("max_steps: 2", "max_steps: 3")
    assert "of 3; raise --trainer.max_steps to go on" in fails(*begun, "3", *last)
    assert "--ckpt_path last is for fit; test takes a run's folder" in fails("test", "-c", str(run), *last)


def test_a_damaged_last_checkpoint_costs_only_what_came_after_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*CGAN, "--trainer.max_steps", "9", "--checkpoint.keep", "2"]
    whole = fit(tmp_path / "whole", *args)
    run = fit(tmp_path / "run", *args)
    file = run / "checkpoints" / "last.ckpt"
    file.write_bytes(file.read_bytes()[:-70] + bytes(70))
    (run / "checkpoints" / "images=000001728.ckpt").unlink()
    capsys.readouterr()
    resume(run)
    assert "last.ckpt is damaged" in capsys.readouterr().out
    check_same(run, whole)


def rewritten(finished: Path, tmp_path: Path, place: str, value: Any) -> Path:
    """A run whose last checkpoint was written anew, with another value at a place such as `loops.fit_loop`."""
    run = Path(shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("images=*")))
    content = read_checkpoint(run)
    *parents, last = (int(key) if key.isdigit() else key for key in place.split("."))
    holder = reduce(lambda found, key: found[key], parents, content)
    if value is GONE:
        del holder[last]
    else:
        holder[last] = value
    AtomicCheckpointIO().save_checkpoint(content, run / "checkpoints" / "last.ckpt")
    return run


GONE = object()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("loops", GONE),
        ("loops", {}),
        ("optimizer_states", []),
        ("optimizer_states", GONE),
        ("lr_schedulers", 5),
        ("callbacks", []),
        ("epoch", None),
        ("global_step", "x"),
        ("pytorch-lightning_version", 5),
    ],
)
def test_a_part_that_is_missing_or_of_another_type_is_named(
    place: str, value: Any, finished: Path, tmp_path: Path, fails: Fails
) -> None:
    run = rewritten(finished, tmp_path, place, value)
    more = ["--trainer.max_steps", "7"]
    line = f"last.ckpt is not as condgen writes it for training: look at its {place}"
    assert line in fails("fit", "--resume", str(run), *more)
    assert line in fails(*SMALL, *CGAN, "--runs", str(tmp_path / "new"), "--ckpt_path", str(run), *more)
    assert not (tmp_path / "new").exists()


def test_a_run_goes_on_only_with_the_state_of_its_checkpoints(finished: Path, tmp_path: Path, fails: Fails) -> None:
    run = rewritten(finished, tmp_path, "callbacks.Checkpoint", GONE)
    line = fails("fit", "--resume", str(run), "--trainer.max_steps", "7")
    assert "look at its callbacks.Checkpoint" in line
    fit(tmp_path / "new", *CGAN, "--ckpt_path", str(run), "--trainer.max_steps", "7")


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("loops.fit_loop", 5, "AttributeError"),
        ("loops.fit_loop.state_dict.combined_loader", [{"batches": "x"}], "TypeError"),
        ("optimizer_states.0.state", 5, "AttributeError"),
        ("optimizer_states.0.param_groups.0.lr", "x", "TypeError"),
        ("callbacks.Checkpoint", {"rows": "x", "validating": 3, "scores": 5, "stack": 7}, "AttributeError"),
        ("callbacks.Checkpoint.rows", "x", "TypeError"),
        ("callbacks.TrainingTime.seconds", "x", "TypeError"),
        ("pytorch-lightning_version", "1.0.0", "KeyError"),
    ],
)
def test_a_checkpoint_from_which_training_fails_at_once_is_named(
    place: str, value: Any, told: str, finished: Path, tmp_path: Path, fails: Fails
) -> None:
    run = rewritten(finished, tmp_path, place, value)
    line = fails("fit", "--resume", str(run), "--trainer.max_steps", "7", code=1)
    assert f"last.ckpt may not be as condgen writes it, for fit fails at once: {told}: " in line
    assert "set CONDGEN_TRACEBACK=1" in line
    if place == "pytorch-lightning_version":
        for verb in ("validate", "test", "predict"):
            line = fails(verb, str(run), "--runs", str(tmp_path / "new"), code=1)
            assert f"last.ckpt may not be as condgen writes it, for {verb} fails at once: {told}: " in line


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("exp_avg", lambda value: value.flatten()[:3]),
        ("exp_avg_sq", lambda value: torch.zeros(1).expand(value.shape)),
        ("exp_avg", lambda value: value.to_sparse()),
        ("step", lambda value: value.flatten()[:0]),
    ],
)
def test_an_optimizer_s_state_fits_its_parameters(
    name: str, change: Callable[[torch.Tensor], torch.Tensor], finished: Path, tmp_path: Path, fails: Fails
) -> None:
    """Fused kernels would write beside it."""
    value = read_checkpoint(finished)["optimizer_states"][0]["state"][0][name]
    run = rewritten(finished, tmp_path, f"optimizer_states.0.state.0.{name}", change(value))
    line = fails("fit", "--resume", str(run), "--trainer.max_steps", "7", code=1)
    assert f"the checkpoint is damaged: an optimizer's {name} does not fit its parameter" in line


def test_a_failure_later_on_is_not_blamed_on_the_checkpoint(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))

    def on_train_batch_end(self: Any, trainer: Any, model: Any, *_: Any) -> None:
        if model.batches_seen == 7:
            raise TypeError("a callback's own")

    monkeypatch.setattr(EvaluateSamples, "on_train_batch_end", on_train_batch_end)
    with pytest.raises(TypeError, match="a callback's own"):
        resume(run, "--trainer.max_steps", "8")


@pytest.mark.parametrize(("name", "value"), [("batches_seen", "x"), ("images_seen", None), ("images_seen", 0.5)])
def test_counters_are_counts(name: str, value: Any, finished: Path, tmp_path: Path, fails: Fails) -> None:
    run = rewritten(finished, tmp_path, f"condgen.progress.{name}", value)
    assert "is damaged: its progress is {" in fails("fit", "--resume", str(run), "--trainer.max_steps", "7")


def test_counters_are_the_model_s(finished: Path, tmp_path: Path, fails: Fails) -> None:
    run = rewritten(finished, tmp_path, "condgen.progress.batches_seen", GONE)
    line = fails("fit", "--resume", str(run), "--trainer.max_steps", "7", code=1)
    assert "the checkpoint counts images_seen, " in line


def test_another_number_of_processes_is_refused(finished: Path, tmp_path: Path, fails: Fails) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    content = read_checkpoint(run)
    content["callbacks"]["Checkpoint"]["stack"]["processes"] = 2
    AtomicCheckpointIO().save_checkpoint(content, run / "checkpoints" / "last.ckpt")
    line = fails("fit", "--resume", str(run), "--trainer.max_steps", "7")
    assert "the run has 2 processes, not 1" in line
    assert list(run.glob("checkpoints/*"))


def test_another_stack_is_told(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    content = read_checkpoint(run)
    content["callbacks"]["Checkpoint"]["stack"] |= {"torch": "1.0", "threads": 64}
    AtomicCheckpointIO().save_checkpoint(content, run / "checkpoints" / "last.ckpt")
    resume(run, "--trainer.max_steps", "6")
    out = capsys.readouterr().out
    assert f"warning: threads 64 became {torch.get_num_threads()}, torch 1.0 became {torch.__version__}: what" in out


def test_a_new_run_from_a_checkpoint_has_a_folder_of_its_own(finished: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    new = fit(tmp_path, *CGAN, "--ckpt_path", str(finished), "--trainer.max_steps", "9")
    whole = fit(tmp_path / "whole", *CGAN, "--trainer.max_steps", "9")
    found = equal(trained(new)["state_dict"], trained(whole)["state_dict"])
    assert not found, found
    assert rows(new) == [row for row in rows(whole) if int(row["step"]) > 5 * 192]
    assert f"# checkpoint: {finished}" in (new / "config.yaml").read_text()
    resume(new, "--trainer.max_steps", "10")
    assert f"# checkpoint: {finished}" in (new / "config.yaml").read_text()
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_an_end_within_an_accumulation_window_is_refused(tmp_path: Path, fails: Fails) -> None:
    args = [*SMALL, *CGAN, "--runs", str(tmp_path), "--model.accumulate_grad_batches", "2"]
    line = fails(*args, "--trainer.max_steps", "6", code=1)
    assert "trainer.max_steps 6 is within a window of accumulate_grad_batches=2; use 7" in line


def test_one_process_at_a_time_works_in_a_folder(finished: Path, tmp_path: Path, fails: Fails) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    other, told = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with locked(run):
            helper = os.fork()  # as a loader's workers are
            if helper == 0:
                os.read(other[0], 1)
                os._exit(0)
            os.write(told[1], b"x")
            signal.pause()
    os.read(told[0], 1)
    more = ["--resume", str(run), "--trainer.max_steps", "6"]
    assert f"{run} is in use by another process" in fails("fit", *more)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for place in (run, run / "checkpoints", run / "samples"):
        (place / ".file.0123456789abcdef.part").touch()
    resume(run, "--trainer.max_steps", "6")
    os.write(other[1], b"x")
    assert not list(run.rglob(".*.part"))


def test_a_stop_within_an_accumulation_window_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by trainer.max_time."""
    args = [*CGAN, "--model.accumulate_grad_batches", "2", "--trainer.max_steps", "9"]
    whole = fit(tmp_path / "whole", *args)

    def on_train_batch_end(self: Any, trainer: Any, model: Any, *_: Any) -> None:
        trainer.should_stop = model.batches_seen == 6

    with monkeypatch.context() as patch:
        patch.setattr(EvaluateSamples, "on_train_batch_end", on_train_batch_end)
        run = fit(tmp_path / "run", *args)
    assert batches_seen(run) == 7
    resume(run)
    found = equal(trained(run), trained(whole))
    assert not found, found
    assert rows(run) == rows(whole)
