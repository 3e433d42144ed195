"""The networks trained on digits: the truth is the images' own, smaller networks are smaller, all still right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.datasets import load_digits
from torch.utils.flop_counter import FlopCounterMode

from inferbench_lib.work import WORKLOADS, cnn_digits, forest, workload
from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.cnn_digits import N_HELD_OUT, CnnDigits, CnnDigitsPruned, CnnDigitsStudent, narrowed
from inferbench_lib.work.engines.torch import Torch
from inferbench_lib.work.fake import FakeWorkload

SIZE = {"side": 16, "n_images": 600, "n_epochs": 3}
"""So small that training takes seconds."""
NETWORKS = (CnnDigits(**SIZE), CnnDigitsPruned(**SIZE), CnnDigitsStudent(**SIZE, n_own_epochs=25))


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFERBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)  # these networks are too small for more, which would wait for each other
        yield
        torch.set_num_threads(n_threads)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test where anything is trained."""
    monkeypatch.setattr(cnn_digits, "fitted", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr(forest.Tabular, "_train", lambda *_: pytest.fail("trained"))


def classes_of(network: CnnDigits, n: int = N_HELD_OUT) -> np.ndarray:
    """The classes that the network gives to the held-out images."""
    with torch.inference_mode():
        classes: np.ndarray = network.model()(torch.from_numpy(network.draw(n))).argmax(1).numpy()
    return classes


def parameters(width: int, hidden: int, side: int) -> int:
    """Weights and biases of three 3×3 convolutions, each with twice the filters, and two fully connected layers."""
    filters = [3, width, 2 * width, 4 * width]
    convolutions = sum(9 * n_in * n_out + n_out for n_in, n_out in pairwise(filters))
    flat = 4 * width * (side // 8) ** 2
    return convolutions + flat * hidden + hidden + hidden * 10 + 10


def test_truth_is_the_digit_that_an_image_shows() -> None:
    """At 8 pixels an image is scikit-learn's own over 16, and its class is that image's target."""
    data = load_digits()
    scaled = (data.images / 16).astype(np.float32)
    target_of = {image.tobytes(): target for image, target in zip(scaled, data.target, strict=True)}
    network = CnnDigits(side=8)
    images = network.draw(N_HELD_OUT)
    assert images.shape == (497, 3, 8, 8)
    assert [target_of[image[channel].tobytes()] for image in images for channel in range(3)] == list(
        np.repeat(network.truth(N_HELD_OUT), 3)
    )
    assert set(network.truth(N_HELD_OUT)) == set(range(10))


def test_images_are_enlarged() -> None:
    """64 pixels a side, float32 between 0 and 1, grey; blocks of 8×8 have about the brightness of their pixel."""
    images, small = CnnDigits().draw(50), CnnDigits(side=8).draw(50)
    assert (images.shape, images.dtype, images.flags.c_contiguous) == ((50, 3, 64, 64), np.float32, True)
    assert 0 <= images.min() <= images.max() <= 1
    assert np.array_equal(images[:, 0], images[:, 2])
    blocks = images.reshape(50, 3, 8, 8, 8, 8).mean(axis=(3, 5))
    assert np.corrcoef(blocks.ravel(), small.ravel())[0, 1] > 0.95


def test_no_held_out_image_was_trained_on() -> None:
    """Training and held-out images are different ones and together all; fewer for training leave those held out."""
    network = CnnDigits(side=8)
    chosen = {image.tobytes() for image in network._training()[0].numpy()}
    held_out = {image.tobytes() for image in network.draw(N_HELD_OUT)}
    assert (len(chosen), len(held_out), len(chosen & held_out)) == (1300, 497, 0)
    assert np.array_equal(replace(network, n_images=10).draw(5), network.draw(5))
    assert len(replace(network, n_images=10)._training()[0]) == 10


def test_images_come_again_after_the_last() -> None:
    """Beyond 497 the images and their classes begin anew; another seed holds others out."""
    network = CnnDigits(side=8)
    assert np.array_equal(network.draw(500)[497:], network.draw(3))
    assert np.array_equal(network.truth(500)[497:], network.truth(3))
    assert not np.array_equal(replace(network, seed=1).draw(3), network.draw(3))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_network_is_right_on_images_that_it_never_saw(network: CnnDigits) -> None:
    """Most held-out digits are recognized; an untrained network of the same layers recognizes about one in ten."""
    assert np.mean(classes_of(network) == network.truth(N_HELD_OUT)) > 0.8
    with torch.inference_mode():
        untrained = network._untrained().model()(torch.from_numpy(network.draw(N_HELD_OUT))).argmax(1).numpy()
    assert np.mean(untrained == network.truth(N_HELD_OUT)) < 0.4


def test_student_imitates_its_teacher() -> None:
    """The student agrees with the trained network on most held-out images."""
    teacher, _, student = NETWORKS
    assert np.mean(classes_of(student) == classes_of(teacher)) > 0.8


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_engine_runs_the_trained_network(network: CnnDigits) -> None:
    """Eager torch gives logits close to the float64 reference, and those of different images are far apart."""
    engine = Torch(network)
    engine.load()
    reference = np.load(network.reference_path(20))
    assert network.agree(engine.runner()(network.draw(20)), reference).passed
    assert not network.agree(engine.runner()(network.draw(20)[::-1].copy()), reference).passed


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("name", "width", "hidden"),
    [("cnn-digits", 64, 512), ("cnn-digits-pruned", 32, 256), ("cnn-digits-student", 8, 64)],
)
def test_parameters_are_those_of_the_layers(name: str, width: int, hidden: int) -> None:
    """The trained network has the reference's 8,765,066 parameters, the others those of narrower layers."""
    network = WORKLOADS[name]()
    assert network.n_parameters() == parameters(width, hidden, 64)
    assert isinstance(network, CnnDigits)
    assert sum(weights.numel() for weights in network._untrained().model().parameters()) == parameters(
        width, hidden, 64
    )
    assert parameters(64, 512, 64) == 8_765_066


@pytest.mark.usefixtures("no_training")
def test_smaller_networks_compute_less() -> None:
    """Pruning to half takes some 3.8 times fewer FLOPs, the student some 49 times, as torch counts a forward pass."""
    flops = []
    for network in (CnnDigits(), CnnDigitsPruned(), CnnDigitsStudent()):
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            network._untrained().model()(torch.empty(1, 3, 64, 64))
        flops.append(counter.get_total_flops())
        assert sum(row.flops for row in network.operators()) == flops[-1]
    assert flops[0] / flops[1] == pytest.approx(3.8, abs=0.1)
    assert flops[0] / flops[2] == pytest.approx(49, abs=1)


def test_filters_without_weight_are_pruned_unnoticed() -> None:
    """Where half of each layer's filters and units are zero, pruning to half leaves the outputs as they were."""
    network = Cnn(side=16).model()
    weighted = [layer for layer in network if hasattr(layer, "weight")]
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for layer in weighted[:-1]:
            silent = rng.permutation(len(layer.weight))[: len(layer.weight) // 2]
            layer.weight[silent] = 0
            layer.bias[silent] = 0
        images = torch.from_numpy(Cnn(side=16).draw(4))
        pruned = narrowed(network, 0.5)
        assert torch.allclose(pruned(images), network(images), atol=1e-6)
    assert [len(layer.weight) for layer in pruned if hasattr(layer, "weight")] == [32, 64, 128, 256, 10]
    assert not pruned.training


def test_weights_are_trained_once_and_kept_as_safetensors(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The file holds the model's tensors, and a second workload of the same parameters reads it."""
    network = NETWORKS[1]
    kept = load_file(network.weights_path)
    monkeypatch.setattr(cnn_digits, "fitted", lambda *_, **__: pytest.fail("trained again"))
    weights = replace(network).model().state_dict()
    assert weights.keys() == kept.keys()
    assert all(np.array_equal(weights[name].numpy(), kept[name]) for name in kept)
    assert tmp_path_factory.getbasetemp() in network.weights_path.parents


def test_training_leaves_its_surroundings_alone(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's generator draws what it would have drawn, and training works inside inference mode."""
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path))
    tiny = {"side": 8, "n_images": 64, "n_epochs": 1}
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    for network in (CnnDigits(**tiny), CnnDigitsPruned(**tiny), CnnDigitsStudent(**tiny, n_own_epochs=1)):
        with torch.inference_mode():
            assert not network.model().training
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.usefixtures("no_training")
def test_no_workload_trains_before_its_model_is_asked_for() -> None:
    """Making each workload, naming it, counting its work and drawing its inputs trains nothing."""
    for make in WORKLOADS.values():
        work = make()
        assert work.name
        assert work.title
        assert work.key()
        assert len(work.draw(2)) == 2
        if "large" not in work.name:
            work.operators()


@pytest.mark.usefixtures("no_training")
def test_files_depend_on_the_network_they_are_made_of() -> None:
    """Another training, of the network itself or of the one it is made of, has other weights; so has another seed."""
    for network in NETWORKS:
        keys = [network.key(), *(replace(network, **{name: 2}).key() for name in ("n_epochs", "n_images", "seed"))]
        assert all(one != other for at, one in enumerate(keys) for other in keys[:at])
    assert NETWORKS[1].key()["digits"] == NETWORKS[0].key() == NETWORKS[2].key()["digits"]


def test_training_rows_of_the_forest_are_no_images() -> None:
    """A notebook's `n_train` is the forest's: the networks keep their own number of images."""
    assert workload("cnn-digits", SimpleNamespace(n_train=200, seed=4)) == CnnDigits(seed=4)


def test_truth_is_unknown_unless_a_workload_knows_it() -> None:
    """Random images have no true class, nor have workloads that do not say."""
    assert Cnn().truth(3) is None
    assert FakeWorkload().truth(3) is None
