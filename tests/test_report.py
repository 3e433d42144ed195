"""Every notebook with every profile, tiny, through the real runner: what a finished report leaves in its folder."""

from __future__ import annotations

import base64
import getpass
import gzip
import hashlib
import json
import re
import socket
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from tiny import CANARIES, FULL_PROFILE, NOTEBOOKS, PROFILES, ROOT, Report, TinyReports, write_params

from inferbench_lib import studies
from inferbench_lib.privacy import ORDINARY
from inferbench_lib.store import load_run

pytestmark = pytest.mark.timeout(900)
MOST_BYTES = 400_000
PICTURES = ("inference_comparison", "batch_size_comparison", "performance_summary")
SECTIONS = ("Parameters", "Results", "System information", "Analysis", "Conclusion")
NUMBERLESS = re.compile(r"\b(nan|NaN|None|inf|Infinity)\b")
EVERYWHERE = (
    "cpu_multiprocess/single_s",
    "cpu_multiprocess/multi_s",
    "cpu_multiprocess/speedup",
    "cpu_multiprocess/efficiency",
    "cpu_multiprocess/verification",
    "cpu_multiprocess/speedup[threads]",
    "cpu_multiprocess/speedup[naive_pool]",
    "cpu_multiprocess/speedup[shared_pool]",
    "cpu_vs_gpu/parameters[small]",
    "cpu_vs_gpu/throughput[small,cpu,b1]",
    "cpu_vs_gpu/throughput[small,cpu,b2]",
    "cpu_vs_gpu/speedup[small]",
    "batch_sweep/best_batch[forest,cpu]",
    "batch_sweep/best_batch[cnn-small,cpu]",
    "hardware_analysis/gemm_gflops[fp32,t1]",
    "hardware_analysis/memory_gb_s",
    "hardware_analysis/usable_cpus",
)


@pytest.fixture(params=PROFILES)
def report(request: pytest.FixtureRequest, tiny_reports: TinyReports) -> Report:
    return tiny_reports.of(request.param)


def visible_text(page: Path) -> str:
    """What a reader sees of a page, code and tracebacks apart."""
    soup = BeautifulSoup(page.read_text(), "html.parser")
    for element in soup.select("script, style, pre, code"):
        element.decompose()
    return soup.get_text(" ")


def texts_of(folder: Path) -> dict[str, str]:
    """Every text in a run's folder by where it is: files, downloads inside pages, what pictures say of themselves."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".png":
            with Image.open(path) as picture:
                found[name] = repr(picture.info)
            continue
        found[name] = path.read_text()
        links = re.findall(r"data:(application/json|application/gzip|text/csv);base64,([\w+/=]+)", found[name])
        for number, (kind, payload) in enumerate(links):
            content = base64.b64decode(payload)
            found[f"{name} download {number}"] = (gzip.decompress(content) if "gzip" in kind else content).decode()
    return found


def test_every_notebook_is_part_of_a_report_or_asked_for_by_name() -> None:
    """A new notebook is found by these tests; what `make report` executes exists."""
    assert set(studies.in_report()) <= set(NOTEBOOKS)


def test_a_notebook_without_a_tiny_size_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that nobody gave a tiny size fails here, rather than staying untested."""
    monkeypatch.setattr("tiny.NOTEBOOKS", ["cpu_multiprocess", "brand_new"])
    (tmp_path / "params" / "quick").mkdir(parents=True)
    for name in ("cpu_multiprocess", "brand_new"):
        (tmp_path / "params" / "quick" / f"{name}.yaml").write_text("seed: 0\n")
    monkeypatch.setattr("tiny.ROOT", tmp_path)
    with pytest.raises(KeyError, match="brand_new"):
        write_params(tmp_path / "tiny", "quick")


def test_report_is_complete(report: Report) -> None:
    """Every notebook of every profile runs to its end: exit code 0, a complete manifest, a page each."""
    assert report.code == 0, report.said
    assert report.manifest["status"] == "complete"
    assert [(entry["name"], entry["status"]) for entry in report.manifest["notebooks"]] == [
        (name, "complete") for name in NOTEBOOKS
    ]
    assert [page.name for page in report.pages if not page.exists()] == []
    assert report.manifest["simulated"] is False
    asked_for = " ".join(f"--notebook {name}" for name in NOTEBOOKS)
    assert report.manifest["command"] == f'make report PROFILE={report.profile} ARGS="{asked_for}"'


def test_manifest_accounts_for_every_file(report: Report) -> None:
    """The manifest names each other file with its SHA-256, and was written after all of them."""
    manifest = report.folder / "manifest.json"
    others = [path for path in report.folder.rglob("*") if path.is_file() and path != manifest]
    assert report.manifest["files"] == {
        path.relative_to(report.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in others
    }
    assert max(path.stat().st_mtime_ns for path in others) <= manifest.stat().st_mtime_ns


def test_summary_has_its_names(report: Report) -> None:
    """`summary.json` holds the documented names with the six fields; parameters are exact, predictions verified."""
    assert [name for name in EVERYWHERE if name not in report.summary] == []
    assert {frozenset(figure) for figure in report.summary.values()} == {
        frozenset({"value", "low", "high", "unit", "verdict", "kind"})
    }
    assert report.summary["cpu_vs_gpu/parameters[small]"]["value"] == 8_765_066
    assert report.summary["cpu_multiprocess/verification"]["value"] == "PASSED"


def test_full_profile_counts_all_networks_and_executors(tiny_reports: TinyReports) -> None:
    """The large networks have about 50 and 200 million parameters, and the naive pool has its row."""
    summary = tiny_reports.of(FULL_PROFILE).summary
    assert summary["cpu_vs_gpu/parameters[medium]"]["value"] == pytest.approx(50e6, rel=0.1)
    assert summary["cpu_vs_gpu/parameters[large]"]["value"] == pytest.approx(200e6, rel=0.1)
    assert {"cpu_multiprocess/speedup[naive_pool]", "cpu_multiprocess/ceiling_speedup"} <= set(summary)


def test_named_pictures_are_there(report: Report) -> None:
    """The three named pictures, and every other, are PNG files of a readable size."""
    figures = report.folder / "figures"
    assert [name for name in PICTURES if not (figures / f"{name}.png").exists()] == []
    for path in figures.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) >= 300, path.name


def test_results_have_their_sections(report: Report) -> None:
    """`results.md` and `results.txt` are one page in five sections, with a table for each question in report order."""
    asked = [studies.params(name).title for name in NOTEBOOKS if name != "summary"]
    markdown = (report.folder / "results.md").read_text().splitlines()
    assert tuple(line.removeprefix("## ") for line in markdown if line.startswith("## ")) == SECTIONS
    assert [line.removeprefix("### ") for line in markdown if line.startswith("### ")] == asked
    plain = (report.folder / "results.txt").read_text().splitlines()
    assert tuple(line for line in plain if line in SECTIONS) == SECTIONS
    assert [line for line in plain[plain.index("Results") :] if line in asked] == asked


def test_records_hold_raw_samples_and_parameters(report: Report) -> None:
    """Each measured notebook leaves a record that can be read back, with samples and the parameters asked for."""
    for name in NOTEBOOKS:
        if name == "summary":
            continue
        run = load_run(report.folder / "data" / f"{name}.json")
        assert run.notebook == name
        assert any(row.samples_s for row in run.measurements), name
        assert {row.reason for row in run.measurements if row.outcome == "failed"} == set()


def test_nothing_says_where_it_was_made(report: Report, tiny_reports: TinyReports) -> None:
    """No folder, user, host or environment value of this machine is in any file, download or picture of a run."""
    names = {socket.gethostname(), getpass.getuser()}
    folders = {ROOT, Path.home(), Path(sys.prefix), tiny_reports.work}
    secrets = {*CANARIES.values(), *(str(folder) for folder in folders if len(folder.parts) > 1)}
    secrets |= {name for name in names if len(name) > 2 and name not in ORDINARY}
    leaks = [(name, secret) for name, text in texts_of(report.folder).items() for secret in secrets if secret in text]
    assert leaks == []


def test_a_leak_would_be_found(tmp_path: Path) -> None:
    """The search looks into plain files, into downloads in pages and into the text of pictures."""
    hidden = base64.b64encode(b'{"home": "canaryhome"}').decode()
    (tmp_path / "page.html").write_text(f'<a href="data:application/json;base64,{hidden}">')
    (tmp_path / "data.json").write_text("canaryuser")
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    about.add_text("Author", "canaryhost")
    Image.new("RGB", (2, 2)).save(tmp_path / "figure.png", pnginfo=about)
    found = texts_of(tmp_path)
    assert "canaryhome" in found["page.html download 0"]
    assert "canaryuser" in found["data.json"]
    assert "canaryhost" in found["figure.png"]


def test_executed_notebooks_carry_their_status(report: Report) -> None:
    """The notebooks beside the pages are valid, whole and say how they ended."""
    for name in NOTEBOOKS:
        notebook = nbformat.read(report.folder / "notebooks" / f"{name}.ipynb", as_version=4)
        nbformat.validate(notebook)
        assert notebook.metadata["inferbench"]["status"] == "complete"
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell.source for cell in code if cell.execution_count is None] == []
        outputs = [output for cell in code for output in cell.outputs]
        assert [output for output in outputs if output.output_type in ("error", "stream")] == []


def test_pages_are_small_and_load_nothing(report: Report) -> None:
    """Each page is at most 400 kB and holds no address outside its embedded data."""
    for page in [*report.pages, report.folder.parent / "index.html"]:
        assert page.stat().st_size <= MOST_BYTES, page.name
        bare = re.sub(r"data:[\w/.+-]+;base64,[\w+/=]+", "", page.read_text())
        assert re.findall(r"https?:.{0,40}|[\"'(=]//.{0,40}|@import.{0,40}", bare) == [], page.name


def test_pages_say_numbers_or_words(report: Report) -> None:
    """No reader meets a nan, None or inf, on a page or in the plain results."""
    said = {page.name: visible_text(page) for page in report.pages}
    said |= {name: (report.folder / name).read_text() for name in ("results.md", "results.txt")}
    found = {
        name: [text[max(0, at.start() - 60) : at.end() + 20] for at in NUMBERLESS.finditer(text)]
        for name, text in said.items()
    }
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_summary_is_json_that_anything_reads(report: Report) -> None:
    """`summary.json` holds no NaN or Infinity, which are no JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    json.loads((report.folder / "summary.json").read_text(), parse_constant=refuse)


def test_progress_is_plain_lines_without_a_terminal(report: Report) -> None:
    """What the runner says is one line a step: no carriage return, no colour, each notebook begun and done."""
    assert "\r" not in report.said
    assert "\x1b" not in report.said
    for number, name in enumerate(NOTEBOOKS, start=1):
        assert f"[{number}/{len(NOTEBOOKS)}] {name}: done in " in report.said


def test_index_lists_the_run(report: Report) -> None:
    """`index.html` has a row for the run, with a link to each of its pages."""
    soup = BeautifulSoup((report.folder.parent / "index.html").read_text(), "html.parser")
    links = {link["href"] for link in soup.select("#runs a[href]")}
    assert {f"{report.folder.name}/{page.name}" for page in report.pages} <= links
