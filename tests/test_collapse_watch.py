"""The collapse watch: what it calls collapsed, what it leaves alone, and what it never touches."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import same_weights, small_cgan
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from condgen.callbacks import Checkpoint, CollapseWatch
from condgen.callbacks.variety import VarietyRecord, reduced, variety
from condgen.cli import main
from condgen.conditions import NoCondition
from condgen.data import Digits
from condgen.models import CGAN, DCGAN, DDPM, VAE, GenerativeModel
from condgen.models.decoding import DecoderSampler
from condgen.nets import DCGANDiscriminator, DCGANGenerator, MLPGenerator, UNet
from condgen.pixels import to_model_range
from condgen.processes import DDIM, DPMSolver
from condgen.types import CondDims, Encoded, Shape

Fit = Callable[..., tuple[GenerativeModel, CollapseWatch, list[dict[str, float]]]]


class ByClass(nn.Module):
    """A generator of one image per class, 0.1 brighter in `modes` ways, and none of it from batch `begin` on."""

    latent_dim = 4

    def __init__(self, image_shape: Shape, dims: CondDims, modes: int = 1, noise: float = 0.0) -> None:
        super().__init__()
        self.image = nn.Linear(dims.vector, 64)
        self.others = nn.Parameter(torch.randn(modes, 64, generator=torch.Generator().manual_seed(0)))
        self.modes = modes
        self.noise = noise

    def forward(self, z: Tensor, cond: Encoded) -> Tensor:
        assert cond.vector is not None
        mode = (z[:, 0].abs() * 1000).long() % self.modes
        speckles = self.noise * torch.sin(1e4 * (z @ torch.linspace(1, 2, 256, device=z.device).view(4, 64)))
        return torch.tanh(self.image(cond.vector) + self.others[mode] + speckles).view(-1, 1, 8, 8)


class Switching(MLPGenerator):
    """A generator that can be made to ignore z."""

    ignores_z = False

    def forward(self, z: Tensor, cond: Encoded) -> Tensor:
        return super().forward(torch.zeros_like(z) if self.ignores_z else z, cond)


class Switch(L.Callback):
    """Makes the generator ignore z in some of the batches, from `begin` up to `end`."""

    def __init__(self, begin: int, end: int = 10**9) -> None:
        self.begin, self.end = begin, end

    def on_train_batch_start(self, trainer: L.Trainer, model: L.LightningModule, batch: Any, batch_idx: int) -> None:
        model.generator.net.ignores_z = self.begin <= model.batches_seen < self.end  # type: ignore[union-attr]


def switching(digits: Digits) -> CGAN:
    return small_cgan(digits, generator=partial(Switching, latent_dim=8, hidden=(32,)))


@pytest.fixture
def fit(make_trainer: Callable[..., L.Trainer], tmp_path: Path) -> Fit:
    """Train with a watch; return the model, the watch and the rows that it logged."""

    def run(
        model: GenerativeModel,
        steps: int,
        *,
        others: tuple[L.Callback, ...] = (),
        ckpt_path: Path | None = None,
        **kw: Any,
    ) -> tuple[GenerativeModel, CollapseWatch, list[dict[str, float]]]:
        watch = CollapseWatch(**kw)
        L.seed_everything(0, verbose=False)
        logger = CSVLogger(tmp_path, name="log", version=None)
        saving = any(isinstance(callback, Checkpoint) for callback in others)
        callbacks = [*others, watch]
        trainer = make_trainer(max_steps=steps, logger=logger, callbacks=callbacks, enable_checkpointing=saving)
        trainer.fit(model, Digits(batch_size=64), ckpt_path=ckpt_path, weights_only=True)
        with (Path(logger.log_dir) / "metrics.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row.get("train/variety")]
        keys = ("step", "train/variety", "train/variety_min")
        return model, watch, [{key: float(row[key]) for key in keys} for row in rows]

    return run


def warned(text: str) -> list[tuple[int, str, float]]:
    pattern = r"warning, batch (\d+): class (\w+) has collapsed: its samples vary ([\d.]+) times as much as the real"
    return [(int(batch), name, float(ratio)) for batch, name, ratio in re.findall(pattern, text)]


# ---------------------------------------------------------------------- the measure


def test_variety_is_the_mean_distance_to_the_nearest() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])
    assert variety(rows) == pytest.approx((5 + 1 + 1) / 3)
    assert variety(rows[:1].repeat(40, 1)) == 0.0
    assert variety(torch.eye(2).repeat(20, 1)) == 0.0  # two modes
    assert variety(2 * rows) == pytest.approx(2 * variety(rows))


def test_reduced_images_are_averages_of_blocks() -> None:
    image = torch.randn(2, 3, 32, 32)
    assert torch.allclose(reduced(image)[:, 0], image[:, 0, :4, :4].mean(dim=(1, 2)), atol=1e-6)
    assert reduced(image).shape == (2, 3 * 64)
    assert reduced(torch.randn(2, 1, 8, 8)).shape == (2, 16)
    assert reduced(torch.randn(2, 1, 28, 28)).shape == (2, 64)
    assert reduced(torch.randn(2, 1, 1, 1)).shape == (2, 1)


def test_real_images_have_variety_and_a_noisy_constant_has_none(digits: Digits) -> None:
    train = digits.images("train")
    for k in range(10):
        real = to_model_range(train.pixels[train.cond["label"] == k])
        first, second = (variety(reduced(part)) for part in real[:96].split(48))
        noisy = real[:1] + 0.03 * torch.randn(48, 1, 8, 8)
        assert 0.7 < first / second < 1.4
        assert variety(reduced(noisy)) < 0.15 * second


# ---------------------------------------------------------------------- the rule


def judged(ratios: list[float], young: int = 2, best: float = 0.0) -> list[int]:
    record = VarietyRecord(best=best)
    counts = []
    for place, ratio in enumerate(ratios):
        record.judge(ratio, 0.1, young=place < young)
        counts.append(record.low)
    return counts


def test_a_class_counts_once_it_has_varied_or_no_longer_learns_to() -> None:
    assert judged([0.0, 0.0, 0.0, 0.0]) == [0, 0, 1, 2]
    assert judged([0.02, 0.03, 0.04, 0.05, 0.08, 0.3]) == [0] * 6  # grows all the time
    assert judged([0.5, 0.0, 0.0, 0.2, 0.0]) == [0, 1, 2, 0, 1]  # had varied, so youth is no excuse, nor is growth
    assert judged([0.02, 0.02, 0.06, 0.06, 0.06], young=0) == [0, 1, 0, 1, 2]
    assert judged([float("nan"), 0.5, float("nan"), 0.01]) == [0, 0, 0, 1]


# ---------------------------------------------------------------------- runs


@pytest.mark.parametrize("modes", [1, 2])
def test_a_generator_of_few_images_is_flagged_within_200_steps(
    modes: int, digits: Digits, fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_cgan(digits, generator=partial(ByClass, modes=modes, noise=0.02))
    _, _, rows = fit(model, 200)
    found = warned(capsys.readouterr().out)
    assert sorted(name for _, name, _ in found) == sorted(digits.cond_spec["label"]["names"])
    assert all(batch <= 200 and ratio < 0.1 for batch, _, ratio in found)
    assert [row["step"] for row in rows] == [3200, 6400, 9600, 12800]
    assert all(row["train/variety_min"] <= row["train/variety"] < 0.1 for row in rows)


def tiny_dcgan(digits: Digits) -> DCGAN:
    return DCGAN(
        digits.image_shape,
        digits.cond_spec,
        generator=partial(DCGANGenerator, width=8),
        discriminator=partial(DCGANDiscriminator, width=8, projection=True, spectral_norm="all"),
    )


@pytest.mark.parametrize("make", [small_cgan, tiny_dcgan], ids=["cgan", "dcgan"])
def test_a_healthy_run_is_not_flagged(
    make: Callable[[Digits], GenerativeModel], digits: Digits, fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, rows = fit(make(digits), 400)
    assert not warned(capsys.readouterr().out)
    assert len(rows) == 8
    assert all(row["train/variety_min"] > 0.1 for row in rows[1:])


def test_a_collapse_is_told_once_and_again_after_recovery(
    digits: Digits, fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    switches = Switch(25, 55), Switch(75)
    for switch in switches:
        switch.on_train_batch_start = lambda *args: None  # type: ignore[method-assign]

    class Twice(Switch):
        def on_train_batch_start(self, trainer: L.Trainer, model: Any, batch: Any, batch_idx: int) -> None:
            model.generator.net.ignores_z = 25 <= model.batches_seen < 55 or model.batches_seen >= 75

    fit(switching(digits), 120, others=(Twice(0),), every_n_steps=10, patience=2)
    out = capsys.readouterr().out
    for name in digits.cond_spec["label"]["names"]:
        assert [(batch, ratio) for batch, who, ratio in warned(out) if who == name] == [(40, 0.0), (90, 0.0)]
        assert f"batch 60: class {name} has recovered" in out


def test_a_model_without_conditions_is_one_class(digits: Digits, fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    model = small_cgan(digits, generator=partial(Switching, latent_dim=8, hidden=(32,)), encoder=NoCondition)
    fit(model, 60, others=(Switch(20),), every_n_steps=10)
    assert "warning, batch 50: the generator has collapsed: its samples vary 0.00 times" in capsys.readouterr().out


def test_many_classes_take_turns(digits: Digits, fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = small_cgan(digits), []
    sample = model.sample

    def spy(cond: dict[str, Tensor], **kwargs: Any) -> Tensor:
        asked.append(sorted(set(cond["label"].tolist())))
        assert not model.averaged
        return sample(cond, **kwargs)

    monkeypatch.setattr(model, "sample", spy)
    fit(model, 150, classes=4)
    assert asked == [[4, 5, 6, 7], [0, 1, 8, 9], [2, 3, 4, 5]]
    assert model.averaged


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every_n_steps": 0}, "every_n_steps must be at least 1, got 0"),
        ({"per_class": 1}, "per_class must be at least 2, got 1"),
        ({"threshold": 1.0}, "threshold must be above 0 and below 1, got 1.0"),
        ({"warmup": -1}, "warmup must be at least 0, got -1"),
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CollapseWatch(**settings)


# ---------------------------------------------------------------------- what it leaves alone

FAMILIES: dict[str, Callable[[Digits], GenerativeModel]] = {
    "cgan": small_cgan,
    "vae": lambda digits: VAE(digits.image_shape, digits.cond_spec, sampler=DecoderSampler(draw=True)),
    "ddpm": lambda digits: DDPM(
        digits.image_shape,
        digits.cond_spec,
        net=partial(UNet, width=8, multipliers=(1, 2), blocks=1, attention=(4,)),
        sampler=DPMSolver(8, guidance=2.0, sde=True),
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_training_is_the_same_with_and_without_a_watch(
    family: str, digits: Digits, fit: Fit, make_trainer: Callable[..., L.Trainer]
) -> None:
    torch.manual_seed(1)
    alone = FAMILIES[family](digits)
    torch.manual_seed(1)
    watched = FAMILIES[family](digits)
    sampler, states = watched.sampler, []
    L.seed_everything(0, verbose=False)
    make_trainer(max_steps=24).fit(alone, Digits(batch_size=64))
    states.append(torch.get_rng_state())
    _, _, rows = fit(watched, 24, every_n_steps=6, per_class=4)
    states.append(torch.get_rng_state())
    assert len(rows) == 4
    assert same_weights(alone, watched)
    assert torch.equal(*states)
    assert watched.sampler is sampler
    assert not watched.raw


def test_a_look_uses_raw_weights_and_the_draft(digits: Digits) -> None:
    model = FAMILIES["ddpm"](digits)
    given = model.sampler
    with pytest.raises(RuntimeError), model.drafting():  # noqa: PT012
        assert model.sampler == DPMSolver(5)
        assert model.sampling_net is model.trained_net
        raise RuntimeError
    assert model.sampler is given
    assert model.averaged
    assert DDIM(3, guidance=2.0).draft() == DPMSolver(3)
    assert DecoderSampler(draw=True).draft() == DecoderSampler()


def test_a_resumed_run_warns_and_logs_as_the_whole_one(
    digits: Digits, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(steps: int, ckpt_path: Path | None = None) -> tuple[Any, ...]:
        torch.manual_seed(1)
        model = switching(digits)
        settings = {"every_n_steps": 10, "per_class": 12, "patience": 3}
        _, watch, rows = fit(model, steps, others=(Switch(25),), ckpt_path=ckpt_path, **settings)
        model.trainer.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return model, watch.state_dict(), rows, warned(capsys.readouterr().out)

    model, state, rows, found = run(70)
    assert {batch for batch, _, _ in found} == {50}
    for stop in (12, 41):  # while real images are still measured, and between two low checks
        run(stop)
        resumed, state_after, rows_after, found_after = run(70, tmp_path / f"{stop}.ckpt")
        assert same_weights(resumed, model)
        assert rows_after == [row for row in rows if row["step"] > stop * 64]
        assert found_after == found
        assert str(state_after) == str(state)


# ---------------------------------------------------------------------- stopping


@pytest.mark.parametrize("keep", [0, 1])
def test_stopping_keeps_what_was_saved_before(
    keep: int, digits: Digits, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saving = Checkpoint(every_n_batches=15, keep=keep)
    model, _, _ = fit(switching(digits), 200, others=(Switch(32), saving), every_n_steps=5, stop=True)
    assert model.batches_seen == 45  # low at 35, 40 and 45
    out = capsys.readouterr().out
    assert len(warned(out)) == 10
    kept = "images=000001920.ckpt" if keep else "last.ckpt"
    (folder,) = tmp_path.rglob("checkpoints")
    assert f"checkpoint kept: {folder / kept}" in out
    assert {path.name for path in folder.iterdir()} == {kept, "last.ckpt"}
    for path in folder.iterdir():
        assert torch.load(path, weights_only=True)["condgen"]["progress"]["batches_seen"] == 30


def test_the_best_is_kept_though_the_collapsed_scores_better(
    digits: Digits, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Score(L.Callback):
        def on_train_batch_end(self, trainer: L.Trainer, model: Any, *args: Any) -> None:
            model.log("score", 100.0 - model.batches_seen, logger=False)

    saving = Checkpoint(every_n_batches=5, monitor="score")
    fit(switching(digits), 200, others=(Score(), Switch(32), saving), every_n_steps=5, stop=True)
    (folder,) = tmp_path.rglob("checkpoints")
    assert f"checkpoint kept: {folder / 'images=000001920.ckpt'}" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {"images=000001920.ckpt", "last.ckpt"}


def test_without_an_older_checkpoint_the_end_is_saved(
    digits: Digits, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(switching(digits), 200, others=(Switch(22), Checkpoint()), every_n_steps=5, stop=True)
    assert "no checkpoint is older than the collapse" in capsys.readouterr().out
    (path,) = tmp_path.rglob("last.ckpt")
    assert torch.load(path, weights_only=True)["condgen"]["progress"]["batches_seen"] == 35


def test_without_stop_checkpoints_go_on(digits: Digits, fit: Fit, tmp_path: Path) -> None:
    model, _, _ = fit(switching(digits), 60, others=(Switch(22), Checkpoint(every_n_batches=50)), every_n_steps=5)
    assert model.batches_seen == 60
    (path,) = tmp_path.rglob("last.ckpt")
    assert torch.load(path, weights_only=True)["condgen"]["progress"]["batches_seen"] == 60


def test_the_command_line_watches_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stuck.py").write_text(
        "from condgen.models import CGAN\n\n\nclass Stuck(CGAN):\n"
        "    def generate(self, noise, cond):\n        return super().generate(0 * noise, cond)\n"
    )
    args = ["--model", "stuck.Stuck", "-c", "trainer/default.yaml", "-c", "data/digits.yaml", "--trust", "stuck"]
    options = ["--collapse.stop", "true", "--evaluation.n_samples", "20", "--checkpoint.every_n_batches", "40"]
    assert main(["fit", *args, *options, "--trainer.accelerator", "cpu"]) == 0
    out = capsys.readouterr().out
    assert len(warned(out)) == 10
    assert {batch for batch, _, _ in warned(out)} == {200}
    (run,) = tmp_path.glob("runs/*/*")
    assert f"checkpoint kept: {run.relative_to(tmp_path)}" in out.replace(f"{tmp_path}/", "")
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["images=000005120.ckpt", "last.ckpt"]
    assert "train/variety_min" in (run / "metrics.csv").read_text()


SCRIPT = """
import sys
from pathlib import Path
import lightning as L
sys.path.insert(0, sys.argv[2])
from test_collapse_watch import Switch, switching
from condgen.callbacks import Checkpoint, CollapseWatch
from condgen.data import Digits

if __name__ == "__main__":
    L.seed_everything(0)
    data = Digits(batch_size=64)
    watch = CollapseWatch(every_n_steps=5, stop=True)
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy="ddp_find_unused_parameters_true", max_steps=200, logger=False,
        callbacks=[Switch(32), Checkpoint(every_n_batches=15), watch], enable_progress_bar=False,
        limit_val_batches=0, default_root_dir=sys.argv[1],
    )
    model = switching(data)
    trainer.fit(model, data)
    Path(sys.argv[1], f"rank{trainer.global_rank}").write_text(f"{model.batches_seen} {trainer.should_stop}")
"""


@pytest.mark.slow
def test_two_processes_stop_together(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "train.py", str(tmp_path), str(Path(__file__).parent)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"rank{rank}").read_text() for rank in range(2)] == ["45 True", "45 True"]
    assert len(warned(done.stdout)) == 10
    assert done.stdout.count("checkpoint kept: ") == 1
    (path,) = tmp_path.rglob("last.ckpt")
    assert torch.load(path, weights_only=True)["condgen"]["progress"]["batches_seen"] == 30
