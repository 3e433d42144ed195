"""`cpu_vs_gpu` from end to end on the simulated device: exact figures, a batch that does not fit, SIMULATED everywhere.

The device's times are virtual, so its event figures equal what is worked out here from the script alone. The network
has twelve layers that run an operation there: flattening gives a view, and dropout does nothing in inference.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from bs4 import BeautifulSoup
from simulated_device import NAME
from simulated_device.autoload import environment
from simulated_device.ready import ready_device
from tiny import ROOT, Report, make_report, page_name

from inferbench_lib.records import Outcome, Run
from inferbench_lib.store import load_run
from inferbench_lib.studies import voice
from inferbench_lib.studies.cpu_vs_gpu import page as devices

pytestmark = pytest.mark.timeout(600)
DEVICE = f"{NAME}:0"
LAUNCH_NS, OPERATION_NS, PAGEABLE_NS_PER_BYTE, PINNED_NS_PER_BYTE, CONTEXT_NS = 1_000, 50_000, 3, 1, 7_000_000
CONVOLUTIONS, RELUS, POOLINGS, LINEARS = 3, 4, 3, 2
LATENCY_NS = LAUNCH_NS + (CONVOLUTIONS + RELUS + POOLINGS + LINEARS) * OPERATION_NS
PARAMETERS = 8_765_066
IMAGE_BYTES = 4 * 3 * 64 * 64
FIRST_LAYER_BYTES = 4 * 64 * 64 * 64  # what the first convolution, and its ReLU, give for one image
FITS, TOO_LARGE = 1, 16
CAP_BYTES = 4 * PARAMETERS + 20_000_000
assert 2 * FITS * FIRST_LAYER_BYTES + 3 * FITS * IMAGE_BYTES < 20_000_000 < 2 * TOO_LARGE * FIRST_LAYER_BYTES


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One run of the notebook and the summary on the device, through the real runner."""
    with ready_device():  # skips, or fails in CI, without a compiler
        work = tmp_path_factory.mktemp("simulated")
    script = {
        "op_cost_ns": OPERATION_NS,
        "launch_ns": LAUNCH_NS,
        "context_ns": CONTEXT_NS,
        "pageable_ns_per_byte": PAGEABLE_NS_PER_BYTE,
        "pinned_ns_per_byte": PINNED_NS_PER_BYTE,
    }
    params = work / "params" / "quick"
    params.mkdir(parents=True)
    values = yaml.safe_load((ROOT / "params/quick/cpu_vs_gpu.yaml").read_text())
    values |= {"batch_sizes": [FITS, TOO_LARGE], "iterations": {"cnn-small": 6}}
    values |= {"warmup": 1, "memory_cap_bytes": CAP_BYTES}
    (params / "cpu_vs_gpu.yaml").write_text(yaml.safe_dump(values))
    (params / "summary.yaml").write_text("reuse: null\n")
    return make_report(
        work, "quick", ["cpu_vs_gpu", "summary"], work / "params", environment(work / "entry point", script)
    )


@pytest.fixture(scope="module")
def run(report: Report) -> Run:
    return load_run(report.folder / "data" / "cpu_vs_gpu.json")


def test_report_is_complete(report: Report) -> None:
    """A batch that does not fit is a row, not a crash: both notebooks run to their end."""
    assert report.code == 0, report.said
    assert report.manifest["status"] == "complete"


def test_event_figures_equal_the_script(report: Report, run: Run) -> None:
    """Each latency of the batch that fits is a launch and twelve operations to the nanosecond, also in the summary."""
    (cell,) = [row for row in run.measurements if (row.case.device, row.case.batch_size) == (DEVICE, FITS)]
    assert cell.outcome is Outcome.OK, cell.reason
    assert {round(1e9 * sample) for sample in (*cell.samples_s, *cell.warmup_s)} == {LATENCY_NS}
    assert len(cell.samples_s) == 6
    assert cell.verification is not None
    assert cell.verification.passed
    figure = report.summary[f"cpu_vs_gpu/latency_s[small,{DEVICE},b{FITS}]"]
    assert [round(1e9 * figure[name]) for name in ("value", "low", "high")] == [LATENCY_NS] * 3


def test_memory_figures_equal_the_network(run: Run) -> None:
    """At its peak the device holds the parameters, the batch and what one call makes, and no more than the cap."""
    (cell,) = [row for row in run.measurements if (row.case.device, row.case.batch_size) == (DEVICE, FITS)]
    assert cell.figures["memory_cap_bytes"] == CAP_BYTES
    assert cell.peak_memory_bytes is not None
    assert (
        4 * PARAMETERS + FITS * IMAGE_BYTES
        < cell.peak_memory_bytes
        == cell.figures["peak_allocated_bytes"]
        <= CAP_BYTES
    )


def test_a_batch_beyond_the_cap_is_a_row(report: Report, run: Run) -> None:
    """The large batch is out of memory on the device, with the reason and the largest that is not."""
    ends = {(row.case.device, row.case.batch_size): row.outcome for row in run.measurements}
    assert ends[DEVICE, TOO_LARGE] is Outcome.OOM
    assert ends["cpu", TOO_LARGE] in (Outcome.OK, Outcome.UNSTABLE)
    (row,) = [row for row in run.measurements if (row.case.device, row.case.batch_size) == (DEVICE, TOO_LARGE)]
    assert row.reason.startswith(f"out of memory on {DEVICE}: simgpu out of memory. Tried to allocate ")
    figure = report.summary[f"cpu_vs_gpu/throughput[small,{DEVICE},b{TOO_LARGE}]"]
    assert (figure["value"], figure["verdict"]) == (None, "SIMULATED: oom")
    largest = (CAP_BYTES - 4 * PARAMETERS) // (IMAGE_BYTES + 2 * FIRST_LAYER_BYTES)
    assert row.reason.endswith(f"; the largest batch that fits is {largest}")
    assert report.summary[f"cpu_vs_gpu/largest_batch[small,{DEVICE}]"]["value"] == largest
    assert f"the largest batch that fits is {largest}" in (report.folder / "cpu_vs_gpu.html").read_text()


@pytest.mark.parametrize("name", ["cpu_vs_gpu", "summary"])
def test_pages_say_simulated(name: str, report: Report) -> None:
    """A banner on top, and the answer itself, say that the times are simulated; also on the page that repeats them."""
    soup = BeautifulSoup((report.folder / page_name(name)).read_text(), "html.parser")
    assert soup.select_one(".banner.simulated strong").get_text() == "SIMULATED"
    assert soup.select_one(".answer").get_text().strip().startswith("SIMULATED: ")


def test_everything_beside_the_pages_says_simulated(report: Report, run: Run) -> None:
    """The record, the manifest, each figure of the summary, the results and the index do too."""
    assert run.simulated
    assert report.manifest["simulated"] is True
    assert [name for name, figure in report.summary.items() if not figure["verdict"].startswith("SIMULATED")] == []
    for name in ("results.txt", "results.md"):
        assert "SIMULATED: " in (report.folder / name).read_text().rpartition("Conclusion")[2]
    index = BeautifulSoup((report.folder.parent / "index.html").read_text(), "html.parser")
    assert [tag.get_text() for tag in index.select("#runs tbody .tag.simulated")] == ["SIMULATED"]


def test_pictures_of_a_simulated_run_are_marked(run: Run) -> None:
    """A picture of a simulated run bears the word; the same picture of a real run does not."""
    for one, words in ((run, ["SIMULATED"]), (replace(run, simulated=False), [])):
        figure = devices.inference_comparison(devices.study(one)).figure()
        assert [text.get_text() for text in figure.texts] == words


def test_the_speedup_has_its_interval(report: Report, run: Run) -> None:
    """Processor against device, transfers included, at the batch that fits on both: a value inside its interval."""
    figure = report.summary["cpu_vs_gpu/speedup[small]"]
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert figure["unit"] == "×"
    whole = report.summary[f"cpu_vs_gpu/end_to_end_s[small,{DEVICE},b{FITS}]"]
    assert whole["value"] > 1e-9 * (LATENCY_NS + FITS * IMAGE_BYTES * PAGEABLE_NS_PER_BYTE)
    assert report.summary["cpu_vs_gpu/device_speedup[small]"]["value"] > figure["value"]
    assert "By device time alone: " in voice.answer(run).verdict
