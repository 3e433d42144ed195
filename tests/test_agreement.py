"""A class that differs where both are equally likely is a tie and right; elsewhere it is a disagreement and wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from inferbench_lib.measure.calls import Calls, pool_size
from inferbench_lib.records import Case, Verification
from inferbench_lib.work.agreement import agreement, tied
from inferbench_lib.work.base import Engine, Runner
from inferbench_lib.work.fake import FakeEngine, FakeWorkload

# Rows 0 and 4 are ties: 2e-6 apart, of a largest score of 0.8.
SCORES = np.array([[0.5, 0.5], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5], [0.500001, 0.499999], [0.5001, 0.4999]])
REFERENCE = np.array([0, 0, 1, 0, 0, 0])


def test_ties_are_counted_apart() -> None:
    """Of four rows with another class two are ties; a tie with the reference's own class is none."""
    classes = np.array([1, 0, 0, 0, 1, 1])
    moved = SCORES.copy()
    moved[1] -= [0.25, 0]
    seen = agreement(classes, REFERENCE, SCORES, moved)
    assert (seen.n_inputs, seen.n_ties, seen.n_disagreements) == (6, 2, 2)
    assert seen.share == pytest.approx(4 / 6)
    assert seen.largest_difference == pytest.approx(0.25)
    assert agreement(REFERENCE, REFERENCE, SCORES, None).largest_difference is None
    assert agreement(REFERENCE, REFERENCE, SCORES, SCORES).share == 1


@pytest.mark.parametrize("scale", [1.0, 1e3, -1e3])
def test_a_tie_is_of_the_two_best_whatever_the_scale(scale: float) -> None:
    """Of three classes the two best count, wherever they stand and of whatever sign; logits are as good as shares."""
    tie_of_the_largest = [[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [0.45, 0.1, 0.45], [0.4, 0.400002, 0.199998]]
    tie_of_the_smallest = [[0.3, 0.3, 0.4], [0.300002, 0.3, 0.399998]]
    no_tie = [[0.4, 0.4001, 0.1999], [0.3, 0.3001, 0.3999]]
    expected = [True] * 4 + [False] * 4 if scale > 0 else [False] * 4 + [True] * 2 + [False] * 2
    assert tied(scale * np.array(tie_of_the_largest + tie_of_the_smallest + no_tie)).tolist() == expected


@dataclass(frozen=True, kw_only=True)
class Choice(FakeWorkload):
    """The larger of two numbers; rows 0 and 3 are ties."""

    has_scores = True
    n_spare = 0

    def draw(self, n_inputs: int) -> np.ndarray:
        """Return four rows."""
        return np.array([[1.0, 1.0], [2.0, 1.0], [1.0, 3.0], [1.0, 1.0]])

    def answers(self, inputs: np.ndarray) -> np.ndarray:
        """Return the first of the largest."""
        classes: np.ndarray = inputs.argmax(axis=1)
        return classes

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        """Return the rows."""
        return inputs


class Other(FakeEngine):
    """It scores as the reference does, and takes the last of the largest."""

    name = "other"

    def runner(self, *, device: str = "cpu", precision: str = "fp32", n_threads: int = 1) -> Runner:
        return Runner(run=last_of_the_largest, scores=lambda rows: rows + 0.125)


def last_of_the_largest(rows: np.ndarray) -> np.ndarray:
    classes: np.ndarray = 1 - rows[:, ::-1].argmax(axis=1)
    return classes


def verified(engine: type[Engine], output: Callable[[np.ndarray], np.ndarray]) -> Verification:
    """Return how outputs are judged that come from this engine."""
    work = Choice()
    calls = Calls(workload=work, engine=engine, n_pool=pool_size(work, 4, engine))
    calls.load()
    inputs = calls.inputs(Case(workload="fake", engine=engine.name, batch_size=4))
    key, batch = next(inputs.batches)
    return inputs.check(key, output(batch))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path / "cache"))


def test_a_tie_passes_and_is_counted() -> None:
    """Another engine may name the other class of rows 0 and 3, and no other class of rows 1 and 2."""
    seen = verified(Other, last_of_the_largest)
    assert (seen.passed, seen.n_ties, seen.n_checked) == (True, 2, 4)
    assert verified(Other, lambda rows: rows.argmax(axis=1)).n_ties == 0
    wrong = verified(Other, lambda rows: rows.argmin(axis=1))
    assert (wrong.passed, wrong.detail) == (False, "2 of 4 values differ, first at [1]: expected 0, got 1")
    assert not verified(Other, lambda rows: rows.argmax(axis=1)[:3]).passed


def test_the_workloads_own_engine_has_no_ties() -> None:
    """It made the reference, so each of its classes is the same."""
    seen = verified(FakeEngine, last_of_the_largest)
    assert (seen.passed, seen.detail) == (False, "2 of 4 values differ, first at [0]: expected 0, got 1")


def test_ties_of_all_calls_add_up() -> None:
    """A cell's verification counts the ties of each output."""
    one = Verification(passed=True, n_checked=4, n_ties=2)
    assert one.followed_by(Verification(passed=True, n_checked=4, n_ties=3)).n_ties == 5


def test_agreement_of_all_inputs_is_that_of_classes_and_scores() -> None:
    """All inputs of the pool: two ties, no disagreement, and scores an eighth away."""
    work = Choice()
    calls = Calls(workload=work, engine=Other, n_pool=pool_size(work, 4, Other))
    calls.load()
    assert calls.agreement(Case(workload="fake", engine="other", batch_size=1)) == {
        "n_inputs": 4, "n_ties": 2, "n_disagreements": 0, "largest_difference": 0.125,
    }  # fmt: skip
