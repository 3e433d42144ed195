"""The forest's true classes are known, and its cheaper variants are what they say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from inferbench_lib.work import WORKLOADS, workload
from inferbench_lib.work.engines.sklearn import Sklearn
from inferbench_lib.work.forest import Forest, Tabular
from inferbench_lib.work.forest_variants import ForestBoosted, ForestFewer, ForestShallow

SIZE = {"n_features": 8, "n_trees": 20, "n_train": 1500, "seed": 3}
VARIANTS = (ForestFewer, ForestShallow, ForestBoosted)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def accuracy_of(work: Tabular, n: int = 4000) -> float:
    """The share of drawn rows whose true class the model gives."""
    return float(np.mean(work.model().predict(work.draw(n)) == work.truth(n)))


def test_truth_is_a_noisy_linear_score() -> None:
    """The true class is the score's sign on 1 − arctan(1/2) / π of the rows, 85.2 %: the rest is noise."""
    work, n = Forest(**SIZE), 40_000
    rng = np.random.default_rng([3, 0])
    rng.standard_normal((1500, 8), dtype=np.float32)
    weights = rng.standard_normal(8)
    without_noise = work.draw(n) @ weights > 0
    expected = 1 - math.atan(0.5) / math.pi
    assert np.mean(work.truth(n) == without_noise) == pytest.approx(expected, abs=4 * math.sqrt(0.25 / n))


def test_truth_belongs_to_the_first_rows() -> None:
    """Fewer rows have the first of the same classes; every variant has the forest's rows and truth."""
    forest = Forest(**SIZE)
    assert np.array_equal(forest.truth(20)[:5], forest.truth(5))
    for variant in (make(**SIZE) for make in VARIANTS):
        assert np.array_equal(variant.draw(50), forest.draw(50))
        assert np.array_equal(variant.truth(50), forest.truth(50))


@pytest.mark.parametrize("make", [Forest, *VARIANTS])
def test_model_learned_the_truth(make: type[Tabular]) -> None:
    """Each is right on far more than half of the rows, and on no more than the noise allows."""
    assert 0.7 < accuracy_of(make(**SIZE)) < 0.86


def test_fewer_trees_are_the_first_of_the_forest() -> None:
    """A quarter of the trees, and together they say what the forest's first ones say."""
    rows, fewer, forest = Forest(**SIZE).draw(200), ForestFewer(**SIZE).model(), Forest(**SIZE).model()
    assert len(fewer.estimators_) == 5
    first = np.mean([tree.predict_proba(rows) for tree in forest.estimators_[:5]], axis=0)
    assert np.allclose(fewer.predict_proba(rows), first)


def test_shallow_trees_end_at_their_depth() -> None:
    """No tree is deeper than the limit, nor than the forest's own where that is smaller."""
    depth = max(tree.tree_.max_depth for tree in ForestShallow(**SIZE, depth_limit=4).model().estimators_)
    assert depth == 4
    assert max(tree.tree_.max_depth for tree in ForestShallow(**SIZE, max_depth=2).model().estimators_) == 2


def test_boosted_trees_imitate_the_forest() -> None:
    """They agree with the forest more often than the forest with the truth, by far fewer nodes."""
    forest, boosted = Forest(**SIZE), ForestBoosted(**SIZE)
    rows, model, whole = forest.draw(4000), boosted.model(), forest.model()
    assert np.mean(model.predict(rows) == whole.predict(rows)) > accuracy_of(forest)
    n_nodes = sum(tree.tree_.node_count for tree in model.estimators_.ravel())
    assert n_nodes < 0.1 * sum(tree.tree_.node_count for tree in whole.estimators_)


@pytest.mark.parametrize("make", VARIANTS)
def test_scikit_learn_runs_each_variant(make: type[Tabular]) -> None:
    """The engine's classes are those of the variant's reference, in the same types as the forest's."""
    work = make(**SIZE)
    engine = Sklearn(work)
    engine.load()
    runner = engine.runner(n_threads=1)
    runner.activate()
    assert work.agree(runner(work.draw(100)), np.load(work.reference_path(100))).passed
    assert np.load(work.reference_path(100)).dtype == bool


def test_parameters_of_the_forest_leave_a_variant_what_it_is() -> None:
    """A notebook's number of trees is the forest's: the variant keeps its share of them, and its own depth."""
    settings = SimpleNamespace(n_trees=40, n_train=300, n_features=5, max_depth=None)
    fewer = workload("forest-fewer", settings)
    assert isinstance(fewer, ForestFewer)
    assert (fewer.n_trees, fewer.kept_share, fewer.n_train) == (40, 0.25, 300)
    assert len(fewer.model().estimators_) == 10


def test_files_of_a_variant_depend_on_the_forest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another forest, or another text of its file, is another variant."""
    for make in VARIANTS:
        work = make(**SIZE)
        before = work.key()
        assert replace(work, n_train=1501).key() != before
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Forest, "key", lambda self: {"source": "edited"})
            assert work.key() != before


def test_names_are_those_of_the_dictionary() -> None:
    """Each workload is found under its own name."""
    assert {name: make().name for name, make in WORKLOADS.items()} == {name: name for name in WORKLOADS}


def test_cache_is_the_test_s_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No model of these tests is kept beside those of measurements."""
    assert Path(tmp_path_factory.getbasetemp()) in Forest(**SIZE).model_path.parents
