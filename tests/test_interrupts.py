"""A run that is asked to leave saves at a good moment, whatever it is doing, and says so by its exit code."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from evaluate_inputs import Fails
from resume_runs import CGAN, SMALL, batches_seen, check_same, fit, resume

from condgen.callbacks import EvaluateSamples, SampleGrid
from condgen.checkpoints import AtomicCheckpointIO, atomic
from condgen.cli import main
from condgen.data import Digits
from condgen.interrupts import Interrupted, Interrupts
from condgen.models.recorded import RecordedModule

ARGS = [*CGAN, "--trainer.max_steps", "13"]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """All handlers are put back."""
    before = [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    yield
    assert [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("whole"), *ARGS)


class Sending:
    """Stands for a function: sends signals at the start of its n-th call, and then does what the function does."""

    def __init__(self, function: Callable[..., Any], call: int, *signums: int) -> None:
        self.function, self.left, self.signums = function, call, signums
        self.went_on = False

    def __get__(self, instance: Any, owner: Any) -> Callable[..., Any]:
        return lambda *args, **kwargs: self(instance, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            for signum in self.signums:
                os.kill(os.getpid(), signum)
            self.went_on = True
        return self.function(*args, **kwargs)


PHASES: dict[str, tuple[Any, str, int, int, bool]] = {
    "a batch": (RecordedModule, "training_step", 7, 7, True),
    "a validation": (EvaluateSamples, "on_validation_epoch_end", 2, 6, False),
    "a grid": (SampleGrid, "_of_classes", 1, 6, False),
    "a save": (atomic, "write_sealed", 3, 8, True),
    "the last grid": (SampleGrid, "_of_classes", 3, 13, False),
}
"""What is going on: where, in which call, after which batch the run can be left, and whether the work is ended."""


TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.mark.parametrize(
    ("phase", "signals"),
    [
        ("a batch", (TERM,)),
        pytest.param("a batch", (INT, INT), marks=pytest.mark.slow),
        ("a validation", (TERM, TERM)),
        pytest.param("a validation", (INT,), marks=pytest.mark.slow),
        ("a grid", (INT, TERM)),
        ("a save", (TERM, INT, TERM)),
        ("the last grid", (TERM,)),
    ],
)
def test_a_run_leaves_in_any_phase_and_goes_on(
    phase: str, signals: tuple[int, ...], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, call, batches, ended = PHASES[phase]
    function = vars(owner)[name]
    sending = Sending(function, call, *signals)
    monkeypatch.setattr(owner, name, sending)
    run = fit(tmp_path, *ARGS, code=128 + signals[0])
    assert sending.went_on is ended
    assert batches_seen(run) == batches
    assert not list(run.glob("checkpoints/.*"))
    monkeypatch.setattr(owner, name, function)
    if batches < 13:
        resume(run)
        check_same(run, whole)


def test_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(RecordedModule, "training_step", Sending(RecordedModule.training_step, 2, signal.SIGTERM))
    run = fit(tmp_path, *ARGS, code=143)
    told = capsys.readouterr()
    assert told.out.splitlines()[-2:] == [f"run folder   {run}", f"next: condgen fit --resume {run}"]
    assert told.err == "condgen: stopped by SIGTERM\n"


def test_before_the_first_batch_there_is_nothing_to_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Digits, "load", Sending(Digits.load, 1, signal.SIGTERM))
    run = fit(tmp_path, *ARGS, code=143)
    assert not list(run.glob("checkpoints/*"))
    assert "next" not in capsys.readouterr().out


def test_a_save_that_fails_on_the_way_out_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(RecordedModule, "training_step", Sending(RecordedModule.training_step, 5, signal.SIGTERM))
    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", full)
    fit(tmp_path, *ARGS, "--checkpoint.every_n_batches", "100", code=1)
    assert "condgen: no room for last.ckpt" in capsys.readouterr().err


def full(self: AtomicCheckpointIO, checkpoint: dict[str, Any], path: str, **_: Any) -> None:
    raise OSError(f"no room for {Path(path).name}")


def test_other_verbs_leave_at_once(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sending = Sending(Digits.load, 1, TERM)
    monkeypatch.setattr(Digits, "load", sending)
    assert main(["predict", "-c", str(whole), "--ckpt_path", str(whole), "--runs", str(tmp_path)]) == 143
    assert not sending.went_on


def test_a_signal_at_any_moment_of_an_attempt_is_caught_and_waits() -> None:
    """The signals are real, from a timer of the kernel."""
    interrupts, draw, given_up = Interrupts(), random.Random(0), 0
    before = signal.getsignal(signal.SIGALRM)
    try:
        for _ in range(500):
            with interrupts.handled():
                signal.signal(signal.SIGALRM, interrupts._leave)
                interrupts.hold()
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + draw.random() * 2e-4)
                while interrupts.received is None:
                    given_up += not interrupts.attempt(lambda: sum(range(draw.randrange(50))))
                with pytest.raises(Interrupted, match="stopped by SIGALRM"):
                    interrupts.release()
                os.kill(os.getpid(), TERM)  # changes nothing any more
    finally:
        signal.signal(signal.SIGALRM, before)
    assert given_up > 50


def test_a_signal_that_python_lost_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is raised in a finaliser goes no further."""

    class Closing:
        def __del__(self) -> None:
            os.kill(os.getpid(), TERM)

    lost: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    interrupts = Interrupts()
    with interrupts.handled():
        interrupts.hold()
        assert interrupts.attempt(Closing)
        with pytest.raises(Interrupted):
            interrupts.release()
    with interrupts.handled():
        Closing()
        os.kill(os.getpid(), TERM)
        interrupts._raised_at -= 10.0
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), TERM)
    assert len(lost) == 2


# ---------------------------------------------------------------------- clusters


@pytest.fixture
def job_77(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the one of a SLURM job."""
    job = {"NTASKS": "1", "NTASKS_PER_NODE": "1", "PROCID": "0", "LOCALID": "0", "NODEID": "0", "JOB_ID": "77"}
    for name, value in (job | {"JOB_NAME": "train", "JOB_NODELIST": "localhost"}).items():
        monkeypatch.setenv(f"SLURM_{name}", value)


@pytest.mark.usefixtures("job_77")
def test_a_slurm_job_is_queued_again_and_goes_on_by_itself(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = tmp_path / "calls"
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    function = RecordedModule.training_step
    monkeypatch.setattr(RecordedModule, "training_step", Sending(function, 6, signal.SIGUSR1, TERM))
    run = fit(tmp_path / "runs", *ARGS, code=143)
    assert run.name.endswith("-job77")
    assert calls.read_text() == "requeue 77\n"
    assert "job 77 is queued again" in capsys.readouterr().out
    assert batches_seen(run) == 6
    monkeypatch.setattr(RecordedModule, "training_step", function)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert main([*SMALL, "--runs", str(tmp_path / "runs"), *ARGS]) == 0
    assert list((tmp_path / "runs").glob("*/*")) == [run]
    check_same(run, whole)


@pytest.mark.usefixtures("job_77")
def test_a_job_that_trains_several_runs_goes_on_with_each_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: Fails
) -> None:
    begun = [*SMALL, *CGAN, "--runs", str(tmp_path)]
    for name, lr in (("exp/a", "0.001"), ("b", "0.5")):
        two = ["--name", name, "--model.generator_optimizer.lr", lr, "--trainer.max_steps", "2"]
        assert main([*begun, *two]) == 0
    (run,) = tmp_path.glob("exp/a/*-job77")
    capsys.readouterr()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert main([*begun, "--name", "exp/a", "--trainer.max_steps", "3"]) == 0
    assert f"goes on from step 2 in {run}" in capsys.readouterr().out
    line = fails(*begun, "--name", "b", "--trainer.max_steps", "3")
    assert f"--resume {tmp_path}/b/" in line
    assert "model.generator_optimizer.lr is 0.5 there and 0.001 here" in line


def test_torchrun_goes_on_with_the_same_config_alone(
    whole: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    monkeypatch.setattr("condgen.cli.resume.restarted_folder", lambda: whole)
    line = fails(*SMALL, *ARGS, "--runs", str(whole.parent.parent), "--seed_everything", "3")
    assert f"--resume {whole}: seed_everything is 0 there and 3 here" in line


# ---------------------------------------------------------------------- real processes


def start(folder: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "condgen", *args], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_real_process_ends_with_143_and_goes_on(tmp_path: Path) -> None:
    args = [*SMALL, *CGAN, "--trainer.limit_val_batches", "0", "--trainer.max_steps"]
    process = start(tmp_path, *args, "1000000")
    wait_for(lambda: list(tmp_path.glob("runs/*/*/checkpoints/last.ckpt")))
    process.send_signal(signal.SIGTERM)
    time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err == "condgen: stopped by SIGTERM\n"
    assert "next: condgen fit --resume runs/cgan-digits/" in out
    (run,) = tmp_path.glob("runs/*/*")
    done = batches_seen(run)
    resume(run, "--trainer.max_steps", str(done + 2))
    assert batches_seen(run) == done + 2


@pytest.mark.slow
def test_all_processes_leave_together_and_go_on(tmp_path: Path) -> None:
    """Of two, the second one alone is asked."""
    args = [*SMALL, *CGAN, "--trainer.devices", "2", "--data.batch_size", "96"]
    process = start(tmp_path, *args, "--trainer.max_steps", "1000000")
    wait_for(lambda: list(tmp_path.glob("runs/*/*/checkpoints/last.ckpt")))
    (child,) = children(process.pid)
    os.kill(child, signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    wait_for(lambda: not is_running(child), 10)
    (run,) = tmp_path.glob("runs/*/*")
    done = batches_seen(run)
    last = str(done + 7)
    again = start(tmp_path, "fit", "--resume", str(run), "--trainer.max_steps", last)
    assert again.wait(timeout=120) == 0
    whole = start(tmp_path, *args, "--trainer.max_steps", last, "--runs", "whole")
    assert whole.wait(timeout=240) == 0
    (other,) = tmp_path.glob("whole/*/*")
    check_same(run, other)


def is_running(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def children(parent: int) -> list[int]:
    """Processes that run condgen and were started by one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and b"condgen" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found
