"""The workloads are what they say: exact sizes, counted work, references that tell right outputs from wrong ones."""

from __future__ import annotations

import inspect
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from inferbench_lib.work import cnn as cnn_module
from inferbench_lib.work.base import cache_folder, cached
from inferbench_lib.work.cnn import RELATIVE_TOLERANCE, WIDTH_AND_HIDDEN, Cnn
from inferbench_lib.work.engines.sklearn import Sklearn
from inferbench_lib.work.forest import Forest
from inferbench_lib.work.outputs import close, equal


@pytest.fixture
def tiny() -> Forest:
    """A forest that trains in no time."""
    return Forest(n_features=8, n_trees=7, n_train=300, seed=3)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path / "cache"))


# The network


def test_small_network_has_exactly_the_reference_parameters() -> None:
    """The small network has 8,765,066 parameters, as the reference."""
    assert Cnn(size="small").n_parameters() == 8_765_066
    assert sum(weights.numel() for weights in Cnn(size="small").model().parameters()) == 8_765_066


@pytest.mark.parametrize(("size", "about"), [("medium", 50e6), ("large", 200e6)])
def test_larger_networks_have_about_the_named_parameters(size: str, about: float) -> None:
    """Medium is within 1 % of 50 million parameters, large within 1 % of 200 million."""
    assert Cnn(size=size).n_parameters() == pytest.approx(about, rel=0.01)


@pytest.mark.parametrize("size", WIDTH_AND_HIDDEN)
def test_counted_parameters_are_those_of_the_module(size: str) -> None:
    """The count by formula equals the tensors' sizes of the built network, whatever its size."""
    with torch.device("meta"):
        module = Cnn(size=size).model()
    assert Cnn(size=size).n_parameters() == sum(weights.numel() for weights in module.parameters())


@pytest.mark.parametrize("size", WIDTH_AND_HIDDEN)
def test_counted_flops_are_those_of_torch(size: str) -> None:
    """The layers' FLOPs add up to what torch counts for one image, and for a batch of three to three times that."""
    flops = sum(row.flops for row in Cnn(size=size).operators())
    with torch.device("meta"):
        module = Cnn(size=size).model()
        for batch_size in (1, 3):
            with FlopCounterMode(display=False) as counter:
                module(torch.empty(batch_size, 3, 64, 64))
            assert counter.get_total_flops() == batch_size * flops


def test_counted_bytes_are_those_of_the_tensors() -> None:
    """Each layer's bytes are its weights once and its input and output once an image, as hooks on the layers see."""
    model, seen = Cnn().model(), []

    def note(layer: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        weights = sum(w.numel() * 4 for w in layer.parameters())
        seen.append((weights, 4 * (inputs[0].numel() + output.numel())))

    counted = [layer for layer in model if not isinstance(layer, torch.nn.Flatten | torch.nn.Dropout)]
    for layer in counted:
        layer.register_forward_hook(note)
    with torch.inference_mode():
        model(torch.zeros(1, 3, 64, 64))
    assert [(row.bytes_fixed, row.bytes_per_input) for row in Cnn().operators()] == seen


def test_network_is_the_reference_architecture() -> None:
    """Three 3×3 convolutions of 64, 128, 256 filters, ReLU and 2×2 pooling after each, 16384 → 512 → 10, dropout."""
    layers = list(Cnn().model())
    convolutions = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]
    linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    assert [(c.in_channels, c.out_channels, c.kernel_size) for c in convolutions] == [
        (3, 64, (3, 3)),
        (64, 128, (3, 3)),
        (128, 256, (3, 3)),
    ]
    assert [type(layer).__name__ for layer in layers[:9]] == ["Conv2d", "ReLU", "MaxPool2d"] * 3
    assert {layer.kernel_size for layer in layers if isinstance(layer, torch.nn.MaxPool2d)} == {2}
    assert [(one.in_features, one.out_features) for one in linear] == [(16384, 512), (512, 10)]
    assert sum(isinstance(layer, torch.nn.Dropout) for layer in layers) == 1


def test_network_is_ready_for_inference() -> None:
    """Dropout and batch effects are off: the same image gives the same logits alone and in a batch."""
    model, images = Cnn().model(), torch.from_numpy(Cnn().draw(3))
    with torch.inference_mode():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    assert not model.training
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_weights_and_images_follow_the_seed() -> None:
    """The same seed gives the same weights and images, another one others; torch's own generator is left alone."""
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    one, same, other = Cnn(seed=1).model(), Cnn(seed=1).model(), Cnn(seed=2).model()
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one[0].weight, same[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)
    assert np.array_equal(Cnn(seed=1).draw(3), Cnn(seed=1).draw(3))
    assert not np.array_equal(Cnn(seed=1).draw(3), Cnn(seed=2).draw(3))


def test_reference_is_close_to_the_plain_forward_pass() -> None:
    """The float64 reference agrees with the float32 pass far below the tolerance."""
    cnn = Cnn()
    reference = np.load(cnn.reference_path(4))
    with torch.inference_mode():
        logits = cnn.model()(torch.from_numpy(cnn.draw(4))).numpy()
    seen = cnn.agree(logits, reference)
    assert seen.passed
    assert seen.max_abs_difference is not None
    assert seen.max_abs_difference < 0.01 * RELATIVE_TOLERANCE * np.abs(reference).max()


def test_no_image_passes_for_another() -> None:
    """The logits of any two images, windows of a batch included, lie far further apart than the tolerance."""
    reference = np.load(Cnn().reference_path(32 + Cnn.n_spare))
    tolerance = RELATIVE_TOLERANCE * np.abs(reference).max()
    apart = [np.abs(reference[i] - reference[j]).max() for i, j in combinations(range(len(reference)), 2)]
    assert min(apart) > 20 * tolerance


def test_reference_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference is computed once and read afterwards; other images or weights have their own."""
    cnn = Cnn(side=8)
    first = np.load(cnn.reference_path(2))
    other = np.load(replace(cnn, seed=5).reference_path(2))
    monkeypatch.setattr(cnn_module.Cnn, "model", lambda self: pytest.fail("built again"))
    assert np.array_equal(np.load(cnn.reference_path(2)), first)
    assert not np.array_equal(other, first)


# The forest


def classes_tree_by_tree(model: object, rows: np.ndarray) -> np.ndarray:
    """The forest's classes by walking every tree by hand and averaging the leaves' class shares."""
    votes = np.zeros((len(rows), 2))
    for estimator in model.estimators_:  # type: ignore[attr-defined]
        tree = estimator.tree_
        for number, row in enumerate(rows):
            node = 0
            while tree.children_left[node] != -1:
                goes_left = row[tree.feature[node]] <= tree.threshold[node]
                node = tree.children_left[node] if goes_left else tree.children_right[node]
            shares = tree.value[node][0]
            votes[number] += shares / shares.sum()
    return votes.argmax(axis=1).astype(bool)


def test_reference_classes_are_those_of_every_tree(tiny: Forest) -> None:
    """The stored classes equal a walk through each tree of the stored model."""
    rows = np.load(tiny.inputs_path(200))
    classes = np.load(tiny.reference_path(200))
    assert np.array_equal(classes, classes_tree_by_tree(tiny.model(), rows))
    assert 0.2 < classes.mean() < 0.8


def test_forest_is_what_its_parameters_say(tiny: Forest) -> None:
    """As many fully grown trees as asked for, over as many features, float32 rows, kept single-threaded."""
    model = tiny.model()
    assert (len(model.estimators_), model.n_features_in_, model.max_depth, model.n_jobs) == (7, 8, None, 1)
    rows = np.load(tiny.inputs_path(50))
    assert (rows.shape, rows.dtype) == ((50, 8), np.float32)


def test_every_parameter_has_its_own_files(tiny: Forest) -> None:
    """Another number of features, trees, training rows, another depth or seed never reads this forest's files."""
    others = [replace(tiny, **{name: (value or 0) + 1}) for name, value in asdict(tiny).items()]
    paths = [forest.inputs_path(10) for forest in (tiny, *others)]
    assert len(set(paths)) == len(paths) == 1 + len(asdict(tiny))
    assert tiny.inputs_path(11) != tiny.inputs_path(10)


def test_edited_workload_makes_its_files_anew(tiny: Forest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Inputs and references of another text of the workload's file are not taken for its own."""
    edited, before = tmp_path / "forest.py", tiny.key()
    edited.write_text(Path(inspect.getfile(Forest)).read_text() + "# edited\n")
    monkeypatch.setattr(inspect, "getfile", lambda kind: str(edited))
    assert tiny.key() != before
    assert {**tiny.key(), "source": before["source"]} == before


def test_training_is_repeatable(tiny: Forest) -> None:
    """The same parameters train the same forest, whatever the threads did."""
    rows = np.load(tiny.inputs_path(100))
    first = tiny.model().predict_proba(rows)
    tiny.model_path.unlink()
    again = replace(tiny).model().predict_proba(rows)
    assert np.array_equal(first, again)


def test_native_engine_predicts_with_the_threads_asked_for(tiny: Forest) -> None:
    """It gives scikit-learn's own `predict`; activating the runner sets its thread count."""
    rows, classes = np.load(tiny.inputs_path(64)), np.load(tiny.reference_path(64))
    engine = Sklearn(tiny)
    engine.load()
    one, two = engine.runner(n_threads=1), engine.runner(n_threads=2)
    for runner, n_threads in ((two, 2), (one, 1)):
        runner.activate()
        assert runner.run.__self__.n_jobs == n_threads  # type: ignore[attr-defined]
        assert tiny.agree(runner(rows), classes).passed


# What is kept


def write(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def test_cache_makes_a_file_once() -> None:
    """The first call makes the file, later ones find it, another key makes another."""
    first = cached("thing", ".bin", {"a": 1}, write(b"one"))
    assert cached("thing", ".bin", {"a": 1}, lambda path: pytest.fail("made again")) == first
    assert first.read_bytes() == b"one"
    assert first.parent == cache_folder()
    assert cached("thing", ".bin", {"a": 2}, write(b"two")) != first


def test_cache_does_not_depend_on_the_order_of_a_key() -> None:
    """The same facts in another order are the same file."""
    first = cached("thing", ".bin", {"a": 1, "b": 2}, write(b"one"))
    assert cached("thing", ".bin", {"b": 2, "a": 1}, lambda path: pytest.fail("made again")) == first


def test_file_that_could_not_be_made_is_not_there() -> None:
    """Half a file is never found later: the fault passes on and the folder holds nothing."""

    def half(path: Path) -> None:
        path.write_bytes(b"hal")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        cached("thing", ".bin", {}, half)
    assert list(cache_folder().iterdir()) == []
    assert cached("thing", ".bin", {}, write(b"whole")).read_bytes() == b"whole"


def test_file_is_made_out_of_sight() -> None:
    """While it is made, no other process finds it under its name."""
    seen: list[bool] = []
    path = cached("thing", ".bin", {}, write(b"x"))
    path.unlink()

    def make(temporary: Path) -> None:
        temporary.write_bytes(b"y")
        seen.append(path.exists())

    assert cached("thing", ".bin", {}, make).read_bytes() == b"y"
    assert seen == [False]


def test_cache_lies_in_the_project_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `$INFERBENCH_CACHE` files are kept in the project's own `.cache`."""
    monkeypatch.delenv("INFERBENCH_CACHE")
    assert cache_folder() == Path(__file__).parents[1] / ".cache" / "inferbench"
    assert os.environ.get("INFERBENCH_CACHE") is None


def test_model_file_is_a_plain_pickle(tiny: Forest) -> None:
    """The kept model loads without anything of ours in the way."""
    assert type(pickle.loads(tiny.model_path.read_bytes())).__name__ == "RandomForestClassifier"


# How outputs are judged

REFERENCE = np.array([[1.0, -2.0], [3.0, 4.0]])


def test_same_outputs_pass() -> None:
    """Equal outputs pass, with all values counted and no difference."""
    seen = equal(REFERENCE.copy(), REFERENCE)
    assert (seen.passed, seen.word, seen.n_checked, seen.max_abs_difference, seen.detail) == (True, "PASSED", 4, 0, "")


def test_tolerance_is_relative_to_the_largest_reference() -> None:
    """A tenth of the largest magnitude, 0.4, is allowed everywhere, and nothing above it."""
    assert close(REFERENCE + 0.39, REFERENCE, 0.1).passed
    assert not close(REFERENCE + 0.41, REFERENCE, 0.1).passed
    assert close(REFERENCE + 0.39, REFERENCE, 0.1).max_abs_difference == pytest.approx(0.39)


@pytest.mark.parametrize(
    ("output", "expected", "largest"),
    [
        (REFERENCE[:1], "shape: expected (2, 2), got (1, 2)", None),
        (REFERENCE.ravel(), "shape: expected (2, 2), got (4,)", None),
        (np.array([[1.0, np.nan], [3.0, 4.0]]), "1 of 4 values are not finite", None),
        (np.array([[1.0, np.inf], [-np.inf, 4.0]]), "2 of 4 values are not finite", None),
        (np.array([[1.0, -2.0], [3.5, 4.0]]), "1 of 4 values differ, first at [1, 0]: expected 3.0, got 3.5", 0.5),
        (REFERENCE + 1, "4 of 4 values differ, first at [0, 0]: expected 1.0, got 2.0", 1.0),
    ],
)
def test_wrong_outputs_fail_with_where(output: np.ndarray, expected: str, largest: float | None) -> None:
    """Half a batch, NaN, infinity and other values fail, each with where, by both ways of comparing."""
    for seen in (equal(output, REFERENCE), close(output, REFERENCE, 1e-3)):
        assert (seen.passed, seen.word, seen.detail, seen.max_abs_difference) == (False, "FAILED", expected, largest)


def test_one_class_of_many_is_found() -> None:
    """A single flipped class among booleans fails, with its row."""
    classes = np.zeros(1000, dtype=bool)
    flipped = classes.copy()
    flipped[617] = True
    assert equal(flipped, classes).detail == "1 of 1,000 values differ, first at [617]: expected False, got True"


def test_no_output_at_all_is_a_wrong_shape() -> None:
    """None, an empty list or a scalar never equal a reference."""
    for output in (None, [], 1.0):
        assert not equal(output, REFERENCE).passed  # type: ignore[arg-type]
