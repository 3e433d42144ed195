"""scikit-learn's own `predict`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from inferbench_lib.work.base import Engine, Runner


class Sklearn(Engine):
    """scikit-learn as it comes; threads are the model's `n_jobs`."""

    name = "sklearn"
    title = "scikit-learn"
    library = "sklearn"
    package = "scikit-learn"
    kinds = ("estimator",)

    @classmethod
    def threads(cls, usable: int) -> int:
        """Return 1: `n_jobs=None` is one thread."""
        return 1

    def load(self) -> None:
        self._model = self.workload.model()

    def runner(self, *, device: str = "cpu", precision: str = "fp32", n_threads: int = 1) -> Runner:
        return Runner(
            run=self._model.predict,
            activate=partial(setattr, self._model, "n_jobs", n_threads),
            scores=getattr(self._model, "predict_proba", None),
        )

    def price(self, precision: str = "fp32") -> Mapping[str, float]:
        path = getattr(self.workload, "model_path", None)
        return {"model_bytes": float(path.stat().st_size)} if path else {}
