"""The model of SCALING.md: hand-computed numbers, and that its table is the one shown."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))

import scaling  # noqa: E402 (beside the benchmarks)

ROUND = scaling.Machine(
    peak=1e12,
    share=0.5,
    tf32=1e11,
    memory=1e10,
    start=1e-6,
    bus=1e8,
    latency=1e-3,
    overlap=0.5,
    images=100.0,
    cores=10,
)
TOY = scaling.Model("toy", parameters=1_000_000, dim=100, operations=3e9, kernels=100, fits=64)


def test_collectives_by_hand():
    # 8 workers are 3 doublings; 7/8 of 4e8 bytes at 1e8 bytes a second are 3.5 s.
    assert scaling.all_gather(4e8, 8, ROUND) == pytest.approx(3.503)
    assert scaling.all_reduce(4e8, 8, ROUND) == pytest.approx(7.006)
    assert scaling.all_gather(4e8, 1, ROUND) == 0


def test_a_step_by_hand():
    found = scaling.step(TOY, workers=4, machine=ROUND, samples=128)  # B = 32, in one part
    assert found.useful == found.towers == pytest.approx(32 * 3e9 / 5e11)  # 0.192
    assert found.starting == pytest.approx(100e-6)
    pairs = 2 * 32 * 128  # 8192
    assert found.loss == pytest.approx(pairs * 600 / 1e11 + pairs * 80 / 1e10)
    # Embeddings 2 * 128 * 100 * 4 bytes and sums 2 * 128 * 4, three quarters of each travel, after 2 ms each.
    assert found.gathering == pytest.approx(0.004 + 0.75 * (102_400 + 1_024) / 1e8)
    # 4 MB there and back: 2 * (2 ms + 30 ms); half of a backward pass of 0.128 s hides all of it.
    assert found.gradients == 0
    assert found.reading == pytest.approx(0.032)
    assert found.computing == pytest.approx(0.192 + found.loss + found.gathering)
    assert found.efficiency == found.read == pytest.approx(0.192 / found.computing)


def test_what_does_not_fit_is_computed_in_parts_and_gradients_travel_with_the_last():
    found = scaling.step(TOY, workers=1, machine=ROUND, samples=128)  # two parts of 64
    assert found.towers == pytest.approx(4 / 3 * found.useful)
    assert found.starting == pytest.approx(2 * 4 / 3 * 100e-6)
    cut = scaling.step(TOY, workers=4, machine=replace(ROUND, overlap=0.1), samples=512)  # two parts of 64 each
    last = 2 / 3 * cut.towers / 2
    assert cut.gradients == pytest.approx(0.064 - 0.1 * last)


def test_a_step_waits_for_the_host_and_for_photographs():
    slow = scaling.step(TOY, 4, replace(ROUND, start=0.01), 128)
    assert slow.computing == pytest.approx(1.0 + slow.loss + slow.gathering)
    hungry = scaling.step(TOY, 4, replace(ROUND, images=1.0), 128)
    assert hungry.reading == pytest.approx(3.2)
    assert hungry.read == pytest.approx(0.192 / 3.2)
    assert hungry.efficiency > hungry.read


def test_scaling_md_shows_the_table_of_the_script():
    shown = (ROOT / "SCALING.md").read_text(encoding="utf-8")
    assert scaling.table(scaling.Machine()) in shown
