"""Small notebooks that end in every way a notebook can end, and jobs that run them through the real runner."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from inferbench_lib.report.runner import Job, run_report
from inferbench_lib.studies import voice

GOOD = ("answer = 6 * 7", "answer")
RAISES = ("first = 1", "import os\nopen(os.path.expanduser('~/no such file'))", "never = 1")
KILLS_ITSELF = ("first = 1", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "never = 1")
SLEEPS = ("first = 1", "import time\ntime.sleep(600)", "never = 1")


def with_children(marker: Path, *, last: str = "time.sleep(600)") -> tuple[str, ...]:
    """Cells that start a plain process and a worker of ours, note all process ids in `marker`, and then do the last."""
    return (
        "import os, subprocess, sys, time\nfrom pathlib import Path\n"
        "from inferbench_lib.processes.remote import Remote",
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])",
        "worker = Remote(dict)\nworker.ready()",
        f"Path({str(marker)!r}).write_text(f'{{os.getpid()}} {{child.pid}} {{worker.pid}}')",
        last,
    )


def write(folder: Path, **notebooks: Sequence[str]) -> None:
    """One notebook a keyword, titled after it, of these code cells."""
    for name, sources in notebooks.items():
        cells = [new_markdown_cell(f"# The {name} notebook"), *map(new_code_cell, sources)]
        notebook = new_notebook(cells=cells)
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, folder / f"{name}.ipynb")


def job(folder: Path, *names: str, timeout_s: int = 120) -> Job:
    """A job over notebooks of `folder`, none of which takes parameters."""
    parameters: Mapping[str, Mapping[str, object]] = {name: {} for name in names}
    return Job(
        profile="small", parameters=parameters, command="make small", voice=voice, timeout_s=timeout_s, notebooks=folder
    )


if __name__ == "__main__":  # so that signals and limits meet a runner in a process of its own
    sys.exit(run_report(job(Path(sys.argv[1]), *sys.argv[2:])))
