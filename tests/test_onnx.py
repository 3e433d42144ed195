"""Models are converted to ONNX once; one that cannot be converted is one line of reason."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferbench_lib.errors import NotAvailable
from inferbench_lib.work.base import Load, cache_folder
from inferbench_lib.work.cnn import Cnn
from inferbench_lib.work.engines.onnxruntime import Onnxruntime
from inferbench_lib.work.engines.openvino import OpenVino
from inferbench_lib.work.engines.sklearn import Sklearn
from inferbench_lib.work.engines.torch import Torch
from inferbench_lib.work.engines.treelite import Treelite
from inferbench_lib.work.forest import Forest, Tabular
from inferbench_lib.work.onnx import onnx_path, price, reason_of

FOREST = Forest(n_features=4, n_trees=3, n_train=100)


@dataclass(frozen=True, kw_only=True)
class HistogramBoosting(Tabular):
    """A model that skl2onnx cannot convert."""

    name = "histogram-boosting"
    title = "the histogram boosting"

    def trained(self, rows: np.ndarray, classes: np.ndarray) -> Any:
        """Return the boosted trees."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(max_iter=self.n_trees, random_state=self.seed).fit(rows, classes)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path / "cache"))


def test_a_model_that_cannot_be_converted_is_one_line_of_reason() -> None:
    """skl2onnx's own message has thousands of lines; no half file stays, and treelite still runs the model."""
    work = HistogramBoosting(n_features=4, n_trees=5, n_train=300)
    with pytest.raises(NotAvailable) as refused:
        Load(workload=work, engine=Onnxruntime)()
    assert str(refused.value).startswith("histogram-boosting: cannot be converted to ONNX in fp32: ")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
    assert list(cache_folder().glob("*.onnx")) == []
    rows = work.draw(200)
    scores = Load(workload=work, engine=Treelite)().scores
    assert scores is not None
    assert np.allclose(scores(rows), work.model().predict_proba(rows), rtol=0, atol=1e-6)


def test_a_reason_is_the_first_line_that_tells_one() -> None:
    """Empty lines and OpenVINO's places in its source are left out; long lines end in an ellipsis."""
    assert reason_of(ValueError("\n  first \nsecond")) == "ValueError: first"
    assert reason_of(RuntimeError("Exception from a.cpp:84:\nException from b.cpp:1:\nno such file\n")) == (
        "RuntimeError: no such file"
    )
    assert reason_of(RuntimeError("Exception from a.cpp:84:")) == "RuntimeError: Exception from a.cpp:84:"
    assert reason_of(ValueError()) == "ValueError: no text"
    assert reason_of(ValueError("x" * 1000)) == "ValueError: " + "x" * 148 + "…"


def test_conversion_happens_once() -> None:
    """The second call finds the file of the first; another model has its own."""
    path = onnx_path(FOREST)
    before = path.stat().st_mtime_ns
    assert onnx_path(FOREST) == path
    assert path.stat().st_mtime_ns == before
    assert onnx_path(Forest(n_features=4, n_trees=4, n_train=100)) != path
    assert len(list(cache_folder().glob("*.onnx"))) == 2


def test_the_price_is_the_conversion_and_the_size() -> None:
    """Seconds stay with the file and are within those of the call; the others tell their model's bytes alone."""
    engine = Onnxruntime(FOREST)
    started_s = time.perf_counter()
    engine.load()
    elapsed_s = time.perf_counter() - started_s
    seen = engine.price()
    assert set(seen) == {"conversion_s", "model_bytes"}
    assert 0 < seen["conversion_s"] <= elapsed_s + 5e-4
    assert seen["model_bytes"] == onnx_path(FOREST).stat().st_size
    assert Onnxruntime(FOREST).price() == seen
    assert Sklearn(FOREST).price() == {"model_bytes": FOREST.model_path.stat().st_size}
    assert Torch(Cnn()).price("fp32") == {"model_bytes": 4 * 8_765_066}
    assert Torch(Cnn()).price("bf16") == {"model_bytes": 2 * 8_765_066}


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_spoilt_file_is_refused_with_a_reason(content: bytes) -> None:
    """An empty or foreign file in the cache crashes neither engine, and its price is refused or its size alone."""
    network = Cnn(side=8)
    path = onnx_path(network)
    path.write_bytes(content)
    for engine in (Onnxruntime, OpenVino):
        with pytest.raises(NotAvailable) as refused:
            Load(workload=network, engine=engine)()(network.draw(1))
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 300
        assert "Exception from" not in str(refused.value)
    with pytest.raises(NotAvailable, match="cannot be converted to ONNX in int8"):
        onnx_path(network, "int8")
    if content:
        with pytest.raises(NotAvailable, match=r"expected an ONNX file, got .*; delete it"):
            price(path)
    else:
        assert price(path) == {"model_bytes": 0.0}
