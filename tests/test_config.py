"""Parameters: nothing is measured before every one is known to be usable, and a message says which is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from inferbench_lib import studies
from inferbench_lib.errors import ConfigError
from inferbench_lib.studies.cpu_multiprocess import measure as multiprocess
from inferbench_lib.work.engines import ENGINES


def refused(notebook: str, **values: Any) -> str:
    """The message with which parameters are refused."""
    with pytest.raises(ConfigError) as caught:
        studies.build(notebook, values, source="p.yaml")
    return str(caught.value)


def test_defaults_are_the_reference_workload() -> None:
    """Without any parameter it is 500,000 rows of 50 features, in equal parts for the usable CPUs."""
    built = studies.build("cpu_multiprocess", {})
    assert isinstance(built, studies.params("cpu_multiprocess"))
    assert (built.n_samples, built.n_features, built.n_processes, built.batch_size) == (500_000, 50, None, None)


def test_given_values_replace_defaults_and_stay() -> None:
    """A parameter that is given counts, and nobody can change it afterwards."""
    built = studies.build("cpu_multiprocess", {"n_processes": 2, "batch_size": 10})
    assert isinstance(built, studies.params("cpu_multiprocess"))
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
            "cold_executors.1: expected one of dask, loky, process_pool, shared_pool, got 'threads'",
        ),
        ("cpu_multiprocess", {"executors": []}, "executors: expected at least 1 item, got []"),
        ("cpu_vs_gpu", {"iterations": "small"}, "iterations: expected dictionary, got 'small'"),
        (
            "cpu_vs_gpu",
            {"iterations": {"small": 3}},
            "iterations.small: expected one of the networks cnn-small, cnn-medium, cnn-large, cnn-digits, "
            "cnn-digits-pruned, cnn-digits-student, got 'small'",
        ),
        (
            "batch_sweep",
            {"engines": ["nope"]},
            f"engines.0: expected one of the engines {', '.join(ENGINES)}, got 'nope'",
        ),
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
            {"batch_sizes": {"forest": []}},
            "batch_sizes.forest: expected at least 1 item, got []",
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
        studies.run("cpu_multiprocess", **values)
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
    assert refused("summary", n_sample=1) == ("p.yaml: 'n_sample': expected one of the parameters of summary (reuse)")


@pytest.mark.parametrize("name", ["seed=1;import os", "__class__", "Seed", "", "seed\n", 3])
def test_name_that_is_no_plain_name_is_refused(name: object) -> None:
    """Names are inserted into a notebook's source, so only known plain ones pass."""
    with pytest.raises(ConfigError, match="expected one of the parameters of summary"):
        studies.build("summary", {name: 1})  # type: ignore[dict-item]


def test_long_values_are_shortened_in_messages() -> None:
    """A message shows at most 60 characters of what came."""
    assert refused("batch_sweep", seed="x" * 500) == f"p.yaml: seed: expected integer, got '{'x' * 56}…"


def test_file_is_read_by_its_name(tmp_path: Path) -> None:
    """`load` takes the notebook from the file's name and the values from its lines."""
    path = tmp_path / "cpu_multiprocess.yaml"
    path.write_text("n_processes: 3\n# a comment\nseed: 7\n")
    built = studies.load(path)
    assert isinstance(built, studies.params("cpu_multiprocess"))
    assert (built.n_processes, built.seed) == (3, 7)


def test_empty_file_means_the_defaults(tmp_path: Path) -> None:
    """A file of comments alone changes nothing."""
    path = tmp_path / "summary.yaml"
    path.write_text("# nothing\n")
    assert studies.load(path) == studies.params("summary")()


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
        (b"reuse: !!binary aGk=\n", "reuse: expected string, got b'hi'"),
        (b"nosuch: 1\n", "'nosuch': expected one of the parameters of summary (reuse)"),
    ],
)
def test_unreadable_content_is_explained(content: bytes, expected: str, tmp_path: Path) -> None:
    """What a file holds is either parameters or a message that names the file; nothing in it runs."""
    path = tmp_path / "summary.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        studies.load(path)
    assert str(caught.value) == f"{path}: {expected}"


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A file that cannot be read is a message, not a traceback."""
    path = tmp_path / "summary.yaml"
    with pytest.raises(ConfigError) as caught:
        studies.load(path)
    assert str(caught.value) == f"{path}: expected a readable parameter file, got: No such file or directory"


def test_file_of_no_notebook_is_named(tmp_path: Path) -> None:
    """A file whose name is no notebook's is refused before it is read."""
    path = tmp_path / "nosuch.yaml"
    with pytest.raises(ConfigError) as caught:
        studies.load(path)
    assert str(caught.value) == (
        f"{path}: expected a file named after a notebook ({', '.join(studies.names())}), got nosuch.yaml"
    )


def test_parameters_of_a_notebook_leave_its_other_variables() -> None:
    """Of `globals()` only parameters are taken, so that a variable of JupyterLab never becomes one."""
    names = {"seed": 3, "In": [], "path": 1, "__name__": "__main__"}
    assert studies.parameters("batch_sweep", names) == {"seed": 3}


@pytest.mark.parametrize(
    ("cells", "taken"),
    [
        (["seed: int = 3\nbatch_size = [1]", "path = 1"], {"seed": 3, "batch_size": [1]}),
        (["seed: int = 3", "# Parameters\nbatch_size = [1]\n"], {"seed": 3, "batch_size": [1]}),
        (["seed: int = 2\nbatch_size = [1]", "# Parameters\nseed = 3\n"], {"seed": 3, "batch_size": [1]}),
        (["seed = 2\nbatch_size = [1]", "seed = 3", "%pwd", "path = 1"], {"seed": 3}),
        (["seed = 3\npath = ib.batch_sweep(seed=seed)"], {"seed": 3}),
    ],
)
def test_misspelt_parameter_of_a_notebook_comes_along(cells: list[str], taken: dict[str, Any]) -> None:
    """What the newest parameters cell assigns beside parameters is taken too, so that it is refused by its name."""
    names = {"seed": 3, "batch_size": [1], "In": ["", *cells], "path": 1}
    assert studies.parameters("batch_sweep", names) == taken


def test_misspelt_parameter_of_a_notebook_is_refused_as_in_a_file() -> None:
    """The message is that of a parameter file, before anything is measured."""
    with pytest.raises(ConfigError, match=r"^parameters: 'batch_size': expected one of the parameters of batch_"):
        studies.run("batch_sweep", seed=3, batch_size=[1])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"batch_sizes": {"forest": [1]}, "engines": ["torch"]}, "engines that load one of forest, got torch"),
        ({"engines": ["sklearn"]}, "one that loads cnn-small, got sklearn"),
    ],
)
def test_engine_that_would_measure_nothing_is_refused(values: dict[str, Any], expected: str) -> None:
    """Each engine loads one of the workloads at least, and each workload is loaded by one of them."""
    assert refused("batch_sweep", **values) == f"p.yaml: engines: expected {expected}"


@pytest.mark.parametrize(
    ("notebook", "values", "expected"),
    [
        ("cpu_multiprocess", {"scheduler": "tcp://x:1"}, "scheduler: has no effect, because executors holds no dask"),
        (
            "cpu_multiprocess",
            {"executors": ["single", "loky"], "cold_executors": [], "start_method": "fork"},
            "start_method: has no effect, because executors holds none of ceiling, naive_pool, process_pool, "
            "shared_pool",
        ),
        ("cpu_multiprocess", {"scaling_processes": [2]},
         "scaling_processes: has no effect, because scaling_rows is empty"),
        ("cpu_multiprocess", {"network_threads": [2]},
         "network_threads: has no effect, because network_processes is empty"),
        ("cpu_multiprocess", {"workload": "cnn-small", "n_trees": 3},
         "n_trees: has no effect, because workload is not the forest"),
        ("batch_sweep", {"batch_sizes": {"cnn-small": [1]}, "n_trees": 3},
         "n_trees: has no effect, because batch_sizes holds no forest"),
        ("hardware_analysis", {"workloads": ["cnn-small"], "n_trees": 200},
         "n_trees: has no effect, because workloads holds no forest"),
        ("hardware_analysis", {"workloads": ["forest"], "image_sides": [32]},
         "image_sides: has no effect, because workloads holds no network"),
        ("batch_sweep", {"device": "cpu", "memory_cap_bytes": 1},
         "memory_cap_bytes: has no effect, because device is cpu, which has no cap"),
    ],
)  # fmt: skip
def test_parameter_without_effect_is_refused(notebook: str, values: dict[str, Any], expected: str) -> None:
    """A value that would change nothing is named with the reason; the default may stand there, as in a notebook."""
    assert refused(notebook, **values) == f"p.yaml: {expected}; leave it out"
    names = studies.params(notebook).model_fields
    default = {name: names[name].default for name in expected.split(":")[:1]}
    studies.build(notebook, values | default)
