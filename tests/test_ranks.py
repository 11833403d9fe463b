"""Several processes of one job: each launcher, each family, and what becomes of a job when one of them fails."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import REPO
from resume_runs import CGAN, FAMILIES, SMALL, batches_seen, check_same, fit

from condgen.checkpoints import read_checkpoint
from condgen.cli import main
from condgen.cli.errors import UserError
from condgen.cli.trainer_flags import check_launched
from condgen.cli.watch.base import REAP, Place
from condgen.cli.watch.hub import Hub
from condgen.cli.watch.member import Member
from condgen.cli.watch.peers import Peer, Report
from condgen.cli.watch.wire import Line
from condgen.heartbeat import heart
from condgen.interrupts import Interrupted
from experiments.soak import ranks, same_samples
from experiments.soak.ranks import LAUNCHERS, STEPS, Job, left, patience

CPU = ["--trainer.accelerator", "cpu"]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process, after which forked ones import nothing."""
    return fit(tmp_path_factory.mktemp("imported"), *CGAN, *STEPS)


def start(folder: Path, launcher: str, *args: str, fault: str | None = None) -> Job:
    nodes = LAUNCHERS[launcher][1]
    counts = ["--trainer.devices", str(2 // nodes), "--trainer.num_nodes", str(nodes)]
    return Job([*args, "--runs", str(folder / "runs"), *counts], launcher, folder, fault)


def only_run(folder: Path) -> Path:
    (run,) = folder.glob("runs/*/*")
    return run


# ---------------------------------------------------------------------- launchers and families


@pytest.mark.usefixtures("imported")
def test_every_launcher_gives_the_same_run(tmp_path: Path) -> None:
    runs = []
    for launcher in LAUNCHERS:
        folder = tmp_path / launcher
        folder.mkdir()
        job = start(folder, launcher, *SMALL, *CGAN, *STEPS)
        assert job.wait(120) == [0, 0], job.said()
        assert job.said().count("strategy: ddp_find_unused_parameters_true, because two optimizers take turns") == 1
        runs.append(only_run(folder))
        assert batches_seen(runs[-1]) == 13
        assert read_checkpoint(runs[-1])["condgen"]["progress"]["images_seen"] == 13 * 2 * 96
        check_same(runs[-1], runs[0])
        assert not left(folder)


MORE = {
    "resnet_gan": ["-c", "model/resnet_gan.yaml"],
    "acgan": ["-c", "model/acgan.yaml"],
    "wgan_gp": ["-c", "model/wgan_gp.yaml"],
    "conv_vae": ["-c", "model/vae.yaml"],
    "beta_vae": ["-c", "model/beta_vae.yaml"],
}
SHAPES = ["-c", "data/shapes.yaml", "--data.image_size", "16", "--data.batch_size", "8", "--data.n_train", "16",
          "--data.n_validation", "8", "--data.n_test", "8",
          "--data.conditions", "[label, text, mask, source]"]  # fmt: skip
OTHERS = {
    "segmenter": ["-c", "model/segmenter.yaml"],
    "tagger": ["-c", "model/tagger.yaml"],
    "pix2pix": ["-c", "model/pix2pix.yaml", "--model.generator.width", "8", "--model.discriminator.width", "8"],
}
OTHERS = {name: [*SHAPES, *args] for name, args in OTHERS.items()}


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize(
    "name",
    ["vae", *(pytest.param(name, marks=pytest.mark.slow) for name in [*FAMILIES, *MORE, *OTHERS] if name != "vae")],
)
def test_every_family_trains_in_two_processes(name: str, tmp_path: Path) -> None:
    args = (FAMILIES | MORE | OTHERS)[name]
    two = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "1", "--grid.every_n_images", "100000"]
    job = start(tmp_path, "by hand", *SMALL, *args, *two)
    assert job.wait(300) == [0, 0], job.said()
    assert re.search(r"strategy: ddp(_find_unused_parameters_true)?, because", job.said())
    assert batches_seen(only_run(tmp_path)) == 2


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize(
    ("name", "flag", "steps"),
    [
        ("classifier", "--trainer.accumulate_grad_batches", 4),
        pytest.param("cgan", "--model.accumulate_grad_batches", 8, marks=pytest.mark.slow),  # its steps are batches
    ],
)
def test_accumulation_in_two_processes(name: str, flag: str, steps: int, tmp_path: Path) -> None:
    args = [*FAMILIES[name], flag, "2", "--trainer.limit_val_batches", "0", "--trainer.max_steps", str(steps)]
    job = start(tmp_path, "by hand", *SMALL, "--data.batch_size", "48", *args)
    assert job.wait(120) == [0, 0], job.said()
    content = read_checkpoint(only_run(tmp_path))
    assert content["global_step"] == steps
    progress = content["condgen"]["progress"]
    assert (progress["batches_seen"], progress["images_seen"]) == (8, 8 * 2 * 48)


# ---------------------------------------------------------------------- samples


@pytest.mark.usefixtures("imported")
def test_two_processes_predict_each_image_once_and_as_one(tmp_path: Path) -> None:
    """Of nine images one process has two batches, the other one."""
    data = [*SHAPES, "--data.n_test", "9", "--data.eval_batch_size", "4"]
    run = fit(tmp_path / "fit", *data, *FAMILIES["vae"], "--trainer.max_steps", "1")
    args = ["predict", "-c", str(run), "--ckpt_path", str(run)]
    job = start(tmp_path, "by hand", *args)
    assert job.wait(120) == [0, 0], job.said()
    assert main([*args, "--runs", str(tmp_path / "one")]) == 0
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).glob("*/*/predictions/*.png")}
        for name in ("one", "runs")
    )
    assert len(one) == 9
    assert one == two


def test_shares_of_samples_are_those_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same_samples, "NAMES", ("dcgan", "ddpm"))
    found = same_samples.trial(3, same_samples.prepare(tmp_path / "prepared"), tmp_path)
    assert found == {"seeds": 20, "images": 2 * (1 + 3 + 8 + 17 + 20)}


# ---------------------------------------------------------------------- deaths


SLOW = pytest.mark.slow
TIMEOUT = f"no progress for {ranks.TIMEOUT:g} seconds, last in <lambda> (faulty.py"


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize(
    ("launcher", "fault", "said"),
    [
        ("torchrun", "1:batch:5:kill", "condgen: rank 1 is lost: it was killed"),
        ("by hand", "0:validation:2:kill", "condgen: rank 0 is lost: it was killed"),
        ("slurm", "1:batch:5:raise", "condgen: rank 1 failed: KeyError: 'no such thing'"),
        ("by hand", "0:batch:5:raise", "condgen: rank 0 failed: KeyError: 'no such thing'"),
        ("slurm", "1:batch:5:hang", f"condgen: rank 1 is hanging: {TIMEOUT}"),
        pytest.param("torchrun", "0:save:2:hang", f"condgen: rank 0 is hanging: {TIMEOUT}", marks=SLOW),
        pytest.param("by hand", "1:save:1:exit", "condgen: rank 1 is lost: it was killed, or ended", marks=SLOW),
        pytest.param("slurm", "0:validation:1:leave", "condgen: rank 0 ended with exit code 4", marks=SLOW),
        pytest.param("torchrun", "1:batch:3:refuse", "condgen: rank 1 failed: the disk is full", marks=SLOW),
        pytest.param("by hand", "1:batch:3:stop", "condgen: rank 1 is not answering", marks=SLOW),
        pytest.param("by hand", "0:batch:3:stop", "condgen: rank 0 is not answering", marks=SLOW),
    ],
)
def test_a_death_ends_the_job(launcher: str, fault: str, said: str, tmp_path: Path) -> None:
    how = fault.rpartition(":")[2]
    job = start(tmp_path, launcher, *SMALL, *CGAN, *STEPS, *patience(how), fault=fault)
    codes = job.wait(120)
    at = float((tmp_path / "failed_at").read_text())
    assert None not in codes
    assert 0 not in codes
    assert time.time() - at < ranks.LIMIT + (ranks.TIMEOUT if patience(how) else 0)
    assert not left(tmp_path)
    assert said in job.said()
    assert "Gloo" not in job.said()


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_death_before_the_watches_are_connected(rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Member, "_call", lambda member: None)
    job = start(tmp_path, "torchrun", *SMALL, *CGAN, *STEPS, fault=f"{rank}:batch:1:kill")
    codes = job.wait(120)
    assert (codes[rank], codes[1 - rank]) == (-signal.SIGKILL, 1)
    assert f"condgen: rank {rank} is lost: it was killed" in job.said()
    assert "Gloo" not in job.said()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("1:batch:5:kill", 1, "rank 1 was killed by SIGKILL"),
        ("1:batch:5:exit", 1, "rank 1 ended with exit code 3"),
        ("0:batch:5:kill", -signal.SIGKILL, "rank 0 is lost: it was killed, or ended without a word"),
    ],
)
def test_the_process_that_starts_the_others_knows_how_they_ended(
    fault: str, code: int, said: str, tmp_path: Path
) -> None:
    words = [*SMALL, *CGAN, *STEPS, "--runs", str(tmp_path / "runs"), "--trainer.devices", "2"]
    job = ranks.whole(words, tmp_path, {"FAULT": fault, "FAULT_AT": str(tmp_path / "failed_at")} | python_path())
    assert job.wait(300) == [code]
    assert not left(tmp_path, 5.0)
    assert [line for line in job.said().splitlines() if line.startswith("condgen:")] == [f"condgen: {said}"]


@pytest.mark.slow
def test_a_hang_of_one_process_ends_it(imported: Path, tmp_path: Path) -> None:
    variables = {"FAULT": "0:batch:5:hang", "FAULT_AT": str(tmp_path / "failed_at")} | python_path()
    words = [*SMALL, *CGAN, *STEPS, *patience("hang"), "--runs", str(tmp_path / "runs")]
    job = ranks.whole(words, tmp_path, variables)
    assert job.wait(300) == [1]
    assert f"condgen: the run is hanging: {TIMEOUT}" in job.said()


@pytest.mark.slow
def test_torchrun_goes_on_from_the_last_checkpoint(imported: Path, tmp_path: Path) -> None:
    """A process is killed in batch 7, when the last checkpoint is of batch 4: the second attempt ends the same run."""
    words = [*SMALL, *CGAN, *STEPS, "--trainer.devices", "2", "--runs", str(tmp_path / "runs")]
    variables = {"FAULT": "1:batch:7:kill", "FAULT_AT": str(tmp_path / "failed_at")} | python_path()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    done = subprocess.run(
        [*command, "-m", "experiments.soak.faulty", *words],
        env=os.environ | variables, cwd=REPO, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "condgen: rank 1 is lost" in done.stderr
    run = only_run(tmp_path)
    assert done.stdout.count(f"goes on from step 4 in {run}") == 1
    (tmp_path / "whole").mkdir()
    whole = start(tmp_path / "whole", "by hand", *SMALL, *CGAN, *STEPS)
    assert whole.wait(120) == [0, 0], whole.said()
    check_same(run, only_run(tmp_path / "whole"))


def python_path() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"}


# ---------------------------------------------------------------------- who hangs


def hub_of(*reports: Report) -> Hub:
    """A first process that has heard of others."""
    hub = Hub(Place(rank=0, local_rank=0, processes=len(reports) + 1, launcher=None, timeout=10.0))
    for rank, report in enumerate(reports, start=1):
        hub.peers[rank] = Peer(SimpleNamespace(open=True), 0, "", report)  # type: ignore[arg-type]
    return hub


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has given no sign of life for 11 seconds, in its 7th collective operation."""
    monkeypatch.setattr(heart, "_last", time.monotonic() - 11.0)
    monkeypatch.setattr("condgen.cli.watch.peers.operations", lambda: 7)


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize(
    ("reports", "said"),
    [
        ([(12.0, 6, "step (a.py:1)"), (11.0, 7)], "rank 1 is hanging: no progress for 10 seconds, last in step"),
        ([(12.0, 8), (11.0, 8)], "rank 0 is hanging: "),
        ([(12.0, 7), (11.0, 7)], "ranks 0, 1, 2 are hanging: "),
        ([(2.0, 7, "", 0.0), (11.0, 6)], "rank 1 is not answering: "),
    ],
)
def test_those_hang_who_have_begun_the_fewest_operations(reports: list[Any], said: str) -> None:
    fate = hub_of(*(Report(*values) for values in reports)).hangs()
    assert fate is not None
    assert fate.told.startswith(said)
    assert fate.code == 1


@pytest.mark.usefixtures("silent")
def test_those_are_named_who_have_not_come() -> None:
    hub = hub_of(Report(11.0, 0))
    hub.place = hub.place._replace(processes=4)
    fate = hub.hangs()
    assert fate is not None
    assert fate.told.startswith("ranks 2, 3 are missing: no progress for 10 seconds")


@pytest.mark.usefixtures("silent")
def test_nobody_hangs_while_one_gives_signs_of_life() -> None:
    assert hub_of(Report(12.0, 6), Report(1.0, 7)).hangs() is None


def test_messages_are_lines_and_strangers_are_cut_off() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    line = Line.__new__(Line)
    line.open, line._link, line._rest = True, one, b""
    other.sendall(b'{"a": 1}\n{"b"')
    assert line.receive() == [{"a": 1}]
    other.sendall(b": 2}\n")
    assert line.receive() == [{"b": 2}]
    other.sendall(b"GET / HTTP/1.1\n")
    assert line.receive() == []
    assert not line.open


def test_a_process_without_the_token_is_none_of_the_job() -> None:
    hub = hub_of()
    hub._token = "right"
    for token, known in (("wrong", 0), ("right", 1)):
        here, there = socket.socketpair()
        hub._strangers.append(line := Line.__new__(Line))
        line.open, line._link, line._rest = True, here, b""
        there.sendall(b'{"token": "%s", "rank": 1, "pid": 1, "host": ""}\n' % token.encode())
        hub._welcome(line)
        assert len(hub.peers) == known


# ---------------------------------------------------------------------- signals before all are connected


def starter_of(command: str) -> Hub:
    """A first process that has started another one, and has not heard of it."""
    hub = hub_of()
    process = subprocess.Popen(["sh", "-c", command])
    hub.place = hub.place._replace(processes=2, launcher=SimpleNamespace(procs=[process]))  # type: ignore[arg-type]
    return hub


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("exit 130", 130, "stopped by SIGINT"),
        ("kill -INT $$", 130, "stopped by SIGINT"),
        ("exit 3", 1, "rank 1 ended with exit code 3"),
    ],
)
def test_a_signal_that_ends_all_is_no_death_of_one(command: str, code: int, told: str) -> None:
    hub = starter_of(command)
    hub.started()[1].wait()
    hub._asked = (signal.SIGINT, time.monotonic())
    assert hub.look([]) == (code, told)


def test_a_process_that_cannot_be_told_is_not_waited_for() -> None:
    hub = starter_of("exec sleep 60")
    begun = time.monotonic()
    hub.clear()
    assert time.monotonic() - begun < REAP
    assert hub.started()[1].returncode == -signal.SIGKILL


def test_a_started_process_leaves_it_to_the_first_to_speak(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr("condgen.cli.verbs.start", stopped)
    assert main(["fit"]) == 130
    assert capsys.readouterr().err == "condgen: stopped by SIGINT\n"
    monkeypatch.setenv("CONDGEN_PARENT", str(os.getppid()))
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(["fit"]) == 130
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4"}, "torchrun has started 4 processes, not 2"),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4"}, "SLURM has started 4 processes"),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"}, "use --ntasks-per-node"),
    ],
)
def test_another_number_of_processes_is_refused(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_launched(2, 1)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=words):
        check_launched(2, 1)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--trainer.sync_batchnorm", "true"], "trainer.sync_batchnorm needs CUDA devices, and this run is on cpu"),
        (["--timeout", "0"], "timeout"),
        (["--timeout", "soon"], "timeout"),
    ],
)
def test_refused_in_a_line(
    args: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    base: list[Any] = ["fit", "-c", "trainer/default.yaml", "-c", "data/digits.yaml", *CGAN, *CPU]
    assert words in fails(*base, *args)
    assert not list(tmp_path.glob("runs/*/*"))
