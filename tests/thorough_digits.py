"""The full networks, two minutes of training. `pytest tests/thorough_digits.py` runs it; the suite does not."""

from __future__ import annotations

import numpy as np
import pytest
from test_digits import classes_of

from inferbench_lib.work.cnn_digits import N_HELD_OUT, CnnDigits, CnnDigitsPruned, CnnDigitsStudent


@pytest.mark.timeout(900)
def test_full_networks_are_as_accurate_as_said(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trained and the pruned network recognize at least 96 % of the held-out digits, the student 94 %."""
    monkeypatch.setenv("INFERBENCH_CACHE", str(tmp_path))
    for network, least in ((CnnDigits(), 0.96), (CnnDigitsPruned(), 0.96), (CnnDigitsStudent(), 0.94)):
        assert np.mean(classes_of(network) == network.truth(N_HELD_OUT)) >= least
