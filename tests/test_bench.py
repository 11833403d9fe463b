"""Works are timed fairly, and `condgen bench` measures what it says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from condgen.bench import (
    AGAIN,
    Block,
    Comparison,
    Foreign,
    Group,
    Loop,
    Protocol,
    Side,
    Timing,
    Work,
    gflop_per_image,
    in_turns,
    markdown,
    measure,
    peaks,
    ratio,
)
from condgen.bench.figures import peak_for
from condgen.cli import main
from condgen.cli.bench_measures import smaller

TINY = ["--rounds", "2", "--seconds", "0.01", "--trainer.accelerator", "cpu"]


class Scripted:
    """Takes as long as it is told to, and notes when it is asked."""

    def __init__(self, name: str, rates: list[float], order: list[str]) -> None:
        self.name, self.rates, self.order = name, iter(rates), order

    def block(self, seconds: float, under: object = None) -> Block:
        self.order.append(self.name)
        return Block(int(100 * next(self.rates)), 10, 100.0, 90.0)

    def close(self) -> None: ...


def test_works_take_turns_and_ratios_are_of_the_same_round() -> None:
    order: list[str] = []
    works: dict[str, Work] = {"a": Scripted("a", [2, 4, 9], order), "b": Scripted("b", [1, 4, 3], order)}
    timings = in_turns(works, rounds=3, seconds=1.0)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert ratio(timings["a"], timings["b"]) == (2.0, 1.0, 3.0)
    assert timings["a"].images_per_second == 4.0
    assert timings["a"].ms_per_step == 10_000.0
    assert timings["a"].contended  # 100 seconds of the clock for 90 of the processor


def test_a_loop_takes_whole_steps_for_the_time_given() -> None:
    work = Loop(lambda: time.sleep(0.01) or 3)
    block = work.block(0.05)
    assert block.images == 3 * block.steps
    assert 2 <= block.steps <= 6
    assert block.wall >= 0.05
    assert work.block(0.0).steps == 1
    assert Timing([block]).contended


@pytest.fixture
def foreign() -> Iterator[Callable[..., Foreign]]:
    made: list[Foreign] = []

    def make(run: Callable[[Foreign], None]) -> Foreign:
        made.append(Foreign(run, len))
        return made[-1]

    yield make
    for work in made:
        work.close()


def test_a_foreign_loop_goes_on_only_while_it_is_timed(foreign: Callable[..., Foreign]) -> None:
    seen: list[str] = []

    def run(work: Foreign) -> None:
        while True:
            seen.extend(work.each(["ab", "cd", "ef"]))

    work = foreign(run)
    assert seen == []
    assert work.block(0.0)[:2] == (2, 1)
    assert work.block(0.0)[:2] == (2, 1)
    time.sleep(0.02)
    assert seen == ["ab", "cd"]
    block = work.block(0.02)
    assert block.images == 2 * block.steps == 2 * (len(seen) - 2)  # over the ends of epochs too
    work.close()
    count = len(seen)
    time.sleep(0.01)
    assert len(seen) == count


def test_a_foreign_loop_that_reads_no_more_than_an_epoch_has_counts_its_last_batch(
    foreign: Callable[..., Foreign],
) -> None:
    def run(work: Foreign) -> None:
        while True:
            batches = work.each(["a", "b"])
            next(batches), next(batches)  # as Lightning does with a loader of a known length

    work = foreign(run)
    assert [work.block(0.0).steps for _ in range(5)] == [1] * 5


def test_errors_of_a_foreign_loop_arrive_where_it_is_timed(foreign: Callable[..., Foreign]) -> None:
    def run(work: Foreign) -> None:
        for _ in work.each(["a", "b"]):
            pass
        raise ValueError("out of data")

    work = foreign(run)
    work.block(0.0)
    with pytest.raises(ValueError, match="out of data"):
        work.block(0.0)
    with pytest.raises(RuntimeError, match="has ended"):
        foreign(lambda _: None)


def test_operations_of_a_foreign_loop_are_counted_in_its_thread(foreign: Callable[..., Foreign]) -> None:
    net = nn.Linear(8, 4, bias=False)

    def run(work: Foreign) -> None:
        while True:
            for batch in work.each([torch.ones(5, 8)]):
                net(batch).sum().backward()

    assert gflop_per_image(foreign(run)) == pytest.approx(2 * 2 * 8 * 4 / 1e9)  # forward, and the weight's gradient
    own = Loop(lambda: net(torch.ones(5, 8)).sum().backward() or 5)
    assert gflop_per_image(own, steps=2) == pytest.approx(2 * 2 * 8 * 4 / 1e9)
    with FlopCounterMode(display=False) as counter:
        foreign(run).block(0.0)
    assert counter.get_total_flops() == 0


def test_operations_are_those_that_torch_counts_and_a_gradient_penalty_has_some() -> None:
    net, attention = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 1)), nn.MultiheadAttention(8, 2)
    x, words = torch.ones(2, 3, 8, 8, requires_grad=True), torch.ones(5, 2, 8)

    def step() -> int:
        with torch.autocast("cpu", torch.bfloat16):
            value = net(x).float().sum()
        (value + attention(words, words, words)[0].sum()).backward()
        return len(x)

    with FlopCounterMode(display=False) as counter:
        step()
    assert gflop_per_image(Loop(step)) == counter.get_total_flops() / len(x) / 1e9

    def penalised() -> int:
        (gradient,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        gradient.square().sum().backward()
        return len(x)

    convolution = 2 * 4 * 3 * 9 * 36  # of one image
    assert gflop_per_image(Loop(penalised)) > 4 * convolution / 1e9


LIMIT = {"float32": {"matmul": 100.0, "conv": 90.0}, "bfloat16": {"matmul": 200.0, "conv": 210.0}}


def test_rows_relate_two_sides_and_the_peak_of_their_types() -> None:
    closed: list[str] = []

    class Timed(Scripted):
        def block(self, seconds: float, under: object = None) -> Block:
            with under if under is not None else nullcontext():  # type: ignore[attr-defined]
                return super().block(seconds)

        def close(self) -> None:
            closed.append(self.name)

    def side(name: str, rates: list[float], precision: str = "32-true", counted: bool = False) -> Side:
        return Side(lambda: Timed(name, [1, 1, *rates], []), precision, counted)

    sides = {
        "ours": side("ours", [2, 3, 4], "bf16-mixed"),
        AGAIN: side(AGAIN, [2, 3.3, 4]),
        "theirs": side("x", [1, 1, 1]),
    }
    group = Group("some work", sides, [Comparison("ours", "theirs", "defaults"), Comparison("theirs", None, "alone")])
    row, alone = measure(group, Protocol(rounds=3, seconds=1.0, limit=LIMIT))
    assert (row["work"], row["comparison"], row["peer_name"]) == ("some work", "defaults", "theirs")
    assert (row["ours"], row["peer"], row["ratio"], row["ratio_min_max"]) == (3.0, 1.0, 3.0, [2.0, 4.0])
    assert (row["noise"], row["rounds"], row["contended"]) == ([1.0, 1.1], 3, True)
    assert row["more_ms_per_step"] == 0
    assert (alone["peer"], alone["ratio"], alone["ours"]) == (None, None, 1.0)
    assert closed == ["ours", AGAIN, "x"]
    assert peak_for(LIMIT, "bf16-mixed") == 200
    assert peak_for(LIMIT, "32-true") == 100
    (short,) = measure(group._replace(comparisons=group.comparisons[:1]), Protocol(3, 1.0, LIMIT, False, budget=600.0))
    assert (short["rounds"], short["contended"]) == (2, None)  # a round takes three blocks of 100 seconds


def test_operations_are_told_beside_the_peak() -> None:
    net = nn.Linear(1000, 1000, bias=False)

    def work() -> Work:
        return Loop(lambda: len(net(torch.ones(500, 1000))))

    sides = {"ours": Side(work), AGAIN: Side(work), "slow": Side(work, "bf16-mixed")}
    comparison = Comparison("ours", "slow", "")
    (row,) = measure(Group("product", sides, [comparison]), Protocol(rounds=1, seconds=0.0, limit=LIMIT))
    assert row["gflop_per_image"] == row["peer_gflop_per_image"] == 2e-3
    assert row["gflop_per_second"] == pytest.approx(row["ours"] * 2e-3, rel=1e-3)
    assert row["of_peak"] == pytest.approx(row["gflop_per_second"] / 100, abs=1e-3)
    assert row["peer_of_peak"] == pytest.approx(row["peer_gflop_per_second"] / 200, abs=1e-3)


def test_works_are_closed_when_one_fails() -> None:
    order: list[str] = []

    class Closing(Scripted):
        def close(self) -> None:
            order.append(f"{self.name} closed")

    def fails() -> Work:
        raise ValueError("no such work")

    sides = {"ours": Side(lambda: Closing("ours", [1], order)), AGAIN: Side(fails)}
    with pytest.raises(ValueError, match="no such work"):
        measure(Group("", sides, []), Protocol(1, 0.0, {}))
    assert order == ["ours closed"]


def test_a_table_has_the_columns_that_have_values() -> None:
    rows = [{"work": "a", "n": 1234.5, "range": [1, 2.345]}, {"work": "b", "n": 0.01234, "contended": False}]
    table = markdown(rows, {"work": "work", "n": "number", "range": "range", "none": "none", "contended": "contended"})
    assert table.splitlines() == [
        "| work | number | range | contended |",
        "| --- | ---: | ---: | ---: |",
        "| a | 1,234 | 1 to 2.35 |  |",
        "| b | 0.0123 |  | no |",
    ]


def test_peaks_are_measured_for_both_types() -> None:
    found = peaks(seconds=0.0)
    assert set(found) == {"float32", "bfloat16"}
    assert all(rate > 0 for kernels in found.values() for rate in kernels.values())


def test_slow_models_are_sampled_in_smaller_chunks() -> None:
    assert smaller(64, 2.0) == 64
    assert smaller(64, 12.0) == 16
    assert smaller(64, 1e6) == 1


LOOPS = ["loop by hand, 32-true", "loop by hand, bf16-mixed"]


@pytest.mark.parametrize("what", ["train", "sample", "data", "evaluate"])
def test_every_work_is_measured_through_the_command_line(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("condgen.cli.bench_measures.peaks", lambda device: peaks(device, seconds=0.0))
    monkeypatch.setattr("condgen.cli.bench_measures.SCORED", 100)
    more = ["--precision", "32-true,bf16-mixed"] if what == "train" else []
    assert main(["bench", what, *TINY, *more, "--json", "out/figures.json"]) == 0
    shown = capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert "| work |" in shown
    assert "noise " in shown
    assert all({"work", "ours", "peer", "ratio"} <= row.keys() and row["ours"] > 0 for row in content["rows"])
    assert any(row["ratio"] for row in content["rows"])
    assert content["machine"]["torch"] == torch.__version__
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # no run is left
    if what == "train":
        first, hand, other = content["rows"]
        assert [row["precision"] for row in (first, hand, other)] == ["bf16-mixed", "32-true", "bf16-mixed"]
        assert [row["peer_name"] for row in (first, hand, other)] == ["32-true", *LOOPS]
        assert first["gflop_per_image"] == hand["gflop_per_image"] == hand["peer_gflop_per_image"] > 0
    if what == "evaluate":
        assert content["rows"][0]["gflop_per_image"] > 0
        rows = {row["comparison"]: row for row in content["rows"]}
        assert rows.keys() >= {"features", "FrechetDistance", "PRDC"}
        assert rows["FrechetDistance"]["peer_name"] == "scipy.linalg.sqrtm"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "--rounds", "0"], "--rounds, --threads and --chunk must be at least 1"),
        (["data", "-c", "data/nothing.yaml"], "no config file"),
        (
            ["sample", "-c", "trainer/default.yaml", "-c", "data/digits.yaml", "-c", "model/classifier.yaml"],
            "no images",
        ),
        (["evaluate", "--evaluation.extractor", "null"], "no evaluation.extractor"),
        (["train", "--precision", "half"], "precision"),
    ],
)
def test_wrong_requests_are_one_line(
    args: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("condgen.cli.bench_measures.peaks", lambda device: {})
    assert main(["bench", *args]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_help_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 0
    assert "condgen bench evaluate" in capsys.readouterr().out
