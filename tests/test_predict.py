"""`parallel_predict`, and input that lies in files."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import numpy as np
import parallel_helpers as helpers
import pytest
from processes import children_here

from inferbench_lib.executors.predict import parallel_predict, threads_held_to
from inferbench_lib.executors.shared_pool import SharedPool
from inferbench_lib.processes import shared_array
from inferbench_lib.processes.shared_array import SharedArray

ROWS = helpers.numbered_rows(1003)
SUMS = np.arange(1003.0) + np.arange(1003.0) ** 2 + 1


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    """The rows in a file."""
    path = tmp_path / "rows.npy"
    np.save(path, ROWS)
    return path


def test_files_are_read_where_they_lie(npy: Path) -> None:
    """A path, a memory map and a part of one give the rows' outputs, and nothing is copied into shared memory."""
    whole = np.load(npy, mmap_mode="r")
    with SharedPool(helpers.load_row_sums, n_processes=2) as pool:
        for x, expected in ((npy, SUMS), (str(npy), SUMS), (whole, SUMS), (whole[7:907], SUMS[7:907])):
            assert np.array_equal(pool.map(x, 100), expected)
            assert not any(span.kind == "share" for span in pool.spans())


def test_memory_maps_that_do_not_show_their_file_are_copied(npy: Path) -> None:
    """What was changed in a private map, computed from one, or is not in row order is what is predicted from."""
    private = np.load(npy, mmap_mode="c")
    private[0, 2] = 100
    columns = np.load(npy, mmap_mode="r")[:, ::-1]
    with SharedPool(helpers.load_row_sums, n_processes=2) as pool:
        assert pool.map(private, 100)[0] == 100
        for x, expected in ((np.load(npy, mmap_mode="r") * 2, 2 * SUMS), (columns, SUMS)):
            assert np.array_equal(pool.map(x, 100), expected)
            assert any(span.kind == "share" for span in pool.spans())


def test_a_raw_memory_map_is_found_at_its_offset(tmp_path: Path) -> None:
    """A map of a bare file from any byte on, and a part of a part of it, is the same bytes in another mapping."""
    path = tmp_path / "raw"
    path.write_bytes(bytes(5001) + ROWS.tobytes())
    raw = np.memmap(path, float, "r", offset=5001, shape=ROWS.shape)
    for part, expected in ((raw, ROWS), (raw[10:][990:], ROWS[1000:])):
        mapped = SharedArray.map_memmap(part)
        assert mapped is not None
        assert np.array_equal(mapped.array, expected)


def test_rows_of_a_large_file_do_not_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that were read are given back, and read again from the file; those of a small file stay."""
    path = tmp_path / "large.npy"
    np.save(path, np.ones((4000, 1000)))
    shared = SharedArray.map_file(path)

    def resident_bytes() -> int:
        """Of the file, whatever else this process does with its memory."""
        (lines,) = re.findall(rf"{re.escape(str(path))}\n((?:\w+: .*\n)+)", Path("/proc/self/smaps").read_text())
        return 1024 * int(re.search(r"^Rss: +(\d+) kB", lines, re.MULTILINE)[1])

    assert shared.array.sum() == 4e6
    full = resident_bytes()
    shared.forget(range(1000, 4000))
    assert full - resident_bytes() < 1e6
    monkeypatch.setattr(shared_array, "KEPT_BYTES", shared.array.nbytes - 1)
    shared.forget(range(1000, 4000))
    assert full - resident_bytes() > 20e6
    assert shared.array.sum() == 4e6


def test_parallel_predict_gives_what_the_model_gives() -> None:
    """The public function returns the model's own predictions and probabilities and leaves no process."""
    before = children_here()
    forest = helpers.small_forest()
    forest.n_jobs = -1  # as in many scripts; each process still has one CPU only
    probabilities = parallel_predict(forest, ROWS, n_processes=2, batch_size=100, method="predict_proba")
    assert np.array_equal(probabilities, forest.predict_proba(ROWS))
    assert np.array_equal(parallel_predict(helpers.SumModel(), ROWS, 3), SUMS)
    assert np.array_equal(parallel_predict(helpers.SumModel(), ROWS), SUMS)
    assert children_here() <= before


def test_parallel_predict_takes_files(npy: Path, tmp_path: Path) -> None:
    """Model and rows may be paths."""
    model = tmp_path / "model.pickle"
    model.write_bytes(pickle.dumps(helpers.SumModel()))
    assert np.array_equal(parallel_predict(model, npy, n_processes=2, batch_size=20), SUMS)


def test_a_process_is_held_to_its_threads_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside, `n_jobs=-1` is one and BLAS has one thread; afterwards all is as before, the variable unset too."""
    import joblib
    from threadpoolctl import threadpool_info, threadpool_limits

    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2):
        with threads_held_to(1):
            assert joblib.effective_n_jobs(-1) == 1
            assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        assert max(pool["num_threads"] for pool in threadpool_info()) == 2
    assert "LOKY_MAX_CPU_COUNT" not in os.environ
