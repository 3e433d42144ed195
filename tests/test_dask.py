"""Dask, in a cluster of this machine or of the user's: safe addresses, named errors, nothing left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import parallel_helpers as helpers
import pytest

from inferbench_lib.errors import ConfigError, NotAvailable
from inferbench_lib.executors.dask_pool import DaskPool, refuse_open
from inferbench_lib.processes.shared_array import SharedArray

ROWS = helpers.numbered_rows(1003)
SUMS = np.arange(1003.0) + np.arange(1003.0) ** 2 + 1
HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("address", "is_good"),
    [
        ("tls://scheduler.example:8786", True),
        ("tls://10.0.0.7:8786", True),
        ("tcp://127.0.0.1:8786", True),
        ("tcp://localhost:8786", True),
        ("tcp://[::1]:8786", True),
        ("tcp://10.0.0.7:8786", False),
        ("tcp://scheduler.example:8786", False),
        ("tcp://127.0.0.1.example:8786", False),
        ("tcp://localhost@10.0.0.7:8786", False),
        ("ws://127.0.0.1:8786", False),
        ("10.0.0.7:8786", False),
        ("tls://", False),
        ("", False),
    ],
)
def test_beyond_this_machine_a_scheduler_needs_tls(address: str, is_good: bool) -> None:
    """An address that others could listen to or talk to is refused by name, before anything is started."""
    if is_good:
        refuse_open(address)
        return
    with pytest.raises(ConfigError) as caught:
        DaskPool(helpers.load_row_sums, n_processes=2, scheduler=address)
    assert str(caught.value) == (
        f"dask.scheduler: expected tls://host:port, or tcp://127.0.0.1:port on this machine, got {address!r}; "
        "start the scheduler with certificates, and name them in Dask's configuration (distributed.comm.tls)"
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A user's own cluster, of two workers in threads of this process."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None
    ) as own:  # type: ignore[no-untyped-call]
        yield own


def test_a_scheduler_of_the_user_s_gets_each_batch_once(cluster: Any) -> None:
    """Batches are scattered with the first call; later ones send none; the user's cluster outlives the pool."""
    address = cluster.scheduler_address
    with (
        DaskPool(partial(helpers.load_sleeper, 0.02), n_processes=2, scheduler=address) as pool,
        SharedArray.of(ROWS) as x,
    ):
        assert np.array_equal(pool.map(x, 100), SUMS)
        assert [span.n_rows for span in pool.spans() if span.kind == "share"] == [1003]
        assert np.array_equal(pool.map(x, 100), SUMS)
        assert [span for span in pool.spans() if span.kind == "share"] == []
        assert np.array_equal(pool.map(ROWS[:7], 3), SUMS[:7])
    assert len(cluster.scheduler_info["workers"]) == 2


def test_a_cluster_that_is_too_small_is_named(cluster: Any) -> None:
    """Workers that are not there, or that work on several batches at once, are refused with what to do."""
    pool = DaskPool(helpers.load_row_sums, n_processes=3, scheduler=cluster.scheduler_address)
    pool._start_limit_s = 0.5
    with pytest.raises(NotAvailable) as caught:
        pool.ready()
    assert str(caught.value) == (
        f"dask: expected 3 workers at {cluster.scheduler_address}, got Only 2/3 workers arrived after 0.5; "
        "start the scheduler and its workers first"
    )
    pool = DaskPool(helpers.load_row_sums, n_processes=1)
    pool._client = type("TwoThreads", (), {"nthreads": lambda self: {"tcp://127.0.0.1:1": 2}})()
    with pytest.raises(NotAvailable) as caught:
        pool._single_threaded()
    assert str(caught.value) == (
        "dask: expected workers of one thread each, 1 of them, got workers of 2 threads; start them with "
        "`dask worker --nthreads 1`"
    )


DASK = """
import psutil
import parallel_helpers as helpers
from inferbench_lib.executors.dask_pool import DaskPool
if __name__ == "__main__":
    with DaskPool(helpers.load_row_sums, n_processes=2) as pool:
        pool.map(helpers.numbered_rows(9), 2)
        ours = psutil.Process()
        sockets = [socket for one in (ours, *ours.children()) for socket in one.net_connections("inet")]
        print({socket.laddr.ip for socket in sockets if socket.status == "LISTEN"})
"""


def test_dask_listens_here_alone_and_leaves_nothing(tmp_path: Path) -> None:
    """All its ports are on loopback, it writes no log, and its temporary folder is empty afterwards."""
    script = tmp_path / "script.py"
    script.write_text(DASK)
    (temporary := tmp_path / "temporary").mkdir()
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": f"{HERE}:{HERE.parent}"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout == "{'127.0.0.1'}\n"
    assert [*temporary.iterdir()] == []
