"""Parameters: nothing is measured before every one is known to be usable, and a message says which is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from inferbench_lib import config, settings
from inferbench_lib.errors import ConfigError
from inferbench_lib.studies.cpu_multiprocess import measure as multiprocess


def refused(notebook: str, **values: Any) -> str:
    """The message with which parameters are refused."""
    with pytest.raises(ConfigError) as caught:
        config.build(notebook, values, source="p.yaml")
    return str(caught.value)


def test_defaults_are_the_reference_workload() -> None:
    """Without any parameter it is 500,000 rows of 50 features, 4 processes, batches of 125,000."""
    built = config.build("cpu_multiprocess", {})
    assert isinstance(built, settings.CpuMultiprocess)
    assert (built.n_samples, built.n_features, built.n_processes, built.batch_size) == (500_000, 50, 4, 125_000)


def test_given_values_replace_defaults_and_stay() -> None:
    """A parameter that is given counts, and nobody can change it afterwards."""
    built = config.build("cpu_multiprocess", {"n_processes": 2, "batch_size": 10})
    assert isinstance(built, settings.CpuMultiprocess)
    assert (built.n_processes, built.batch_size, built.n_samples) == (2, 10, 500_000)
    with pytest.raises(ValidationError):
        built.n_processes = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("notebook", "values", "expected"),
    [
        ("cpu_multiprocess", {"n_processes": 0}, "n_processes: expected greater than or equal to 1, got 0"),
        ("cpu_multiprocess", {"batch_size": -5}, "batch_size: expected greater than or equal to 1, got -5"),
        ("cpu_multiprocess", {"n_processes": "4"}, "n_processes: expected integer, got '4'"),
        ("cpu_multiprocess", {"n_processes": True}, "n_processes: expected integer, got True"),
        ("cpu_multiprocess", {"n_processes": 4.0}, "n_processes: expected integer, got 4.0"),
        ("cpu_multiprocess", {"seed": -1}, "seed: expected greater than or equal to 0, got -1"),
        ("cpu_multiprocess", {"target_width": 0}, "target_width: expected greater than 0, got 0"),
        (
            "cpu_multiprocess",
            {"cold_executors": ["loky", "threads"]},
            "cold_executors.1: expected 'process_pool', 'shared_pool', 'loky' or 'dask', got 'threads'",
        ),
        ("cpu_multiprocess", {"executors": []}, "executors: expected at least 1 item, got []"),
        ("cpu_vs_gpu", {"sizes": "small"}, "sizes: expected list, got 'small'"),
        ("cpu_vs_gpu", {"batch_sizes": [1, 0]}, "batch_sizes.1: expected greater than or equal to 1, got 0"),
        ("batch_sweep", {"max_latency_s": float("nan")}, "max_latency_s: expected a finite number, got nan"),
        ("batch_sweep", {"time_limit_s": float("inf")}, "time_limit_s: expected a finite number, got inf"),
        ("hardware_analysis", {"budget_s": None}, "budget_s: expected number, got None"),
        ("cpu_vs_gpu", {"batch_sizes": [4, 1, 4]}, "batch_sizes: expected each value once, not 4 again, got [4, 1, 4]"),
        (
            "cpu_multiprocess",
            {"executors": ["single", "single"]},
            "executors: expected each value once, not single again, got ['single', 'single']",
        ),
        (
            "batch_sweep",
            {"forest_batch_sizes": [], "sizes": []},
            "forest_batch_sizes, or cnn_batch_sizes and sizes: expected a batch size, got none",
        ),
        (
            "cpu_multiprocess",
            {"n_samples": 10, "batch_size": 11},
            "batch_size: expected at most n_samples (10), got 11",
        ),
        (
            "cpu_multiprocess",
            {"scaling_rows": [9, 998, 1000], "scaling_processes": [1, 4]},
            "scaling_rows: expected entries that differ for each of 4 processes, got 998 and 1000, both 250 rows each",
        ),
        ("hardware_analysis", {"n_trees": 50}, "tree_counts: expected at most n_trees (50), got 100"),
        (
            "hardware_analysis",
            {"image_sides": [32, 60]},
            "image_sides.1: expected a multiple of 8, got 60",
        ),
        ("batch_sweep", {"min_rounds": 9}, "min_rounds: expected at most max_rounds (8), got 9"),
    ],
)
def test_unusable_value_is_named(notebook: str, values: dict[str, Any], expected: str) -> None:
    """The message names the file, the field, what was expected and what came."""
    assert refused(notebook, **values) == f"p.yaml: {expected}"


def test_rows_that_fall_together_on_this_machine_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of processes that follow from the CPUs are checked too, before anything is measured."""
    monkeypatch.setattr(multiprocess, "usable_cpus", lambda: (2, ""))
    values = {"n_samples": 100, "batch_size": 10, "scaling_rows": [97, 100], "scaling_processes": []}
    with pytest.raises(ConfigError) as caught:
        multiprocess.cpu_multiprocess(**values)
    assert str(caught.value) == (
        "cpu_multiprocess: scaling_rows: expected entries that differ for each of 4 processes, got 97 and 100, both "
        "25 rows each; or set scaling_processes"
    )


def test_every_unusable_value_is_named_at_once() -> None:
    """Two mistakes make two lines, so that one round of repair is enough."""
    assert refused("cpu_multiprocess", n_processes=0, n_trees=0).splitlines() == [
        "p.yaml: n_processes: expected greater than or equal to 1, got 0",
        "p.yaml: n_trees: expected greater than or equal to 1, got 0",
    ]


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    """A misspelt parameter is never ignored."""
    assert refused("summary", n_sample=1) == (
        "p.yaml: 'n_sample': expected one of the parameters of summary (reuse, seed)"
    )


@pytest.mark.parametrize("name", ["seed=1;import os", "__class__", "Seed", "", "seed\n", 3])
def test_name_that_is_no_plain_name_is_refused(name: object) -> None:
    """Names are inserted into a notebook's source, so only known plain ones pass."""
    with pytest.raises(ConfigError, match="expected one of the parameters of summary"):
        config.build("summary", {name: 1})  # type: ignore[dict-item]


def test_long_values_are_shortened_in_messages() -> None:
    """A message shows at most 60 characters of what came."""
    assert refused("summary", seed="x" * 500) == f"p.yaml: seed: expected integer, got '{'x' * 56}…"


def test_file_is_read_by_its_name(tmp_path: Path) -> None:
    """`load` takes the notebook from the file's name and the values from its lines."""
    path = tmp_path / "cpu_multiprocess.yaml"
    path.write_text("n_processes: 3\n# a comment\nseed: 7\n")
    built = config.load(path)
    assert isinstance(built, settings.CpuMultiprocess)
    assert (built.n_processes, built.seed) == (3, 7)


def test_empty_file_means_the_defaults(tmp_path: Path) -> None:
    """A file of comments alone changes nothing."""
    path = tmp_path / "summary.yaml"
    path.write_text("# nothing\n")
    assert config.load(path) == settings.Summary()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"- 1\n- 2\n", "expected name: value lines, got a list"),
        (b"seed: [1\n", "expected YAML (name: value lines), got: while parsing a flow sequence"),
        (
            b"seed: \xff\n",
            "expected YAML (name: value lines), got: "
            "'utf-8' codec can't decode byte 0xff in position 6: invalid start byte",
        ),
        (
            b"seed: !!python/object/apply:os.system [exit]\n",
            "expected YAML (name: value lines), got: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        (b"seed: !!binary aGk=\n", "seed: expected integer, got b'hi'"),
        (b"nosuch: 1\n", "'nosuch': expected one of the parameters of summary (reuse, seed)"),
    ],
)
def test_unreadable_content_is_explained(content: bytes, expected: str, tmp_path: Path) -> None:
    """What a file holds is either parameters or a message that names the file; nothing in it runs."""
    path = tmp_path / "summary.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(caught.value) == f"{path}: {expected}"


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A file that cannot be read is a message, not a traceback."""
    path = tmp_path / "summary.yaml"
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(caught.value) == f"{path}: expected a readable parameter file, got: No such file or directory"


def test_file_of_no_notebook_is_named(tmp_path: Path) -> None:
    """A file whose name is no notebook's is refused before it is read."""
    path = tmp_path / "nosuch.yaml"
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(caught.value) == (
        f"{path}: expected a file named after a notebook ({', '.join(settings.CONFIGS)}), got nosuch.yaml"
    )


def test_parameters_of_a_notebook_leave_its_other_variables() -> None:
    """Of `globals()` only parameters are taken, so that a variable of JupyterLab never becomes one."""
    names = {"seed": 3, "In": [], "path": 1, "__name__": "__main__"}
    assert config.parameters("summary", names) == {"seed": 3}
