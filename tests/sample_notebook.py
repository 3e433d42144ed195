"""A realistic executed notebook, built in Python: answer, figures with their spread, tables, errors, hostile text."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import nbformat
import numpy as np
import pandas as pd
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

VERDICT = "Use 2 threads: they predict 1.8× faster than one process; 4 processes are slower."
EXECUTORS = ("single process", "threads", "shared-memory pool", "naive pool")
MEDIANS_S = (4.61, 2.52, 2.61, 6.25)


def sample_notebook(*, about: dict[str, Any] | None = None) -> NotebookNode:
    """Three figures, two tables, an answer, a method: what a notebook of a run looks like after papermill."""
    cells = [
        new_markdown_cell("# Do several processes help?"),
        code("from inferbench_lib import experiments", 1),
        code("n_processes = 4  # workers\nbatch_size = 125_000  # rows a task", 2, tags=["parameters"]),
        code("# Parameters\nn_processes = 2\nbatch_size = 25_000", 3, tags=["injected-parameters"]),
        code("display(HTML(words.answer(result)))", 4, html(ANSWER)),
        new_markdown_cell(
            "## How much faster is each way?\n\nSpeedup = single ÷ multi; efficiency = speedup ÷ processes."
        ),
        code(
            "show(figures.times(result))",
            5,
            picture(
                "Time for 500,000 rows, by executor: threads 2.52 s, "
                "shared-memory pool 2.61 s, single process 4.61 s, naive pool 6.25 s",
                bars=True,
            ),
        ),
        code("display(HTML(words.reading(result)))", 6, html(READING)),
        new_markdown_cell("### Every way that was measured"),
        code("tables.executors(result)", 7, html(executors_table())),
        new_markdown_cell("## Where did the time go?"),
        code(
            "show(figures.breakdown(result))",
            8,
            picture(
                "Share of the naive pool's 6.25 s: process start 31 %, "
                "model transfer 24 %, data transfer 12 %, computing 33 %"
            ),
        ),
        code(
            "display(HTML(words.flag(result)))",
            9,
            html(
                '<p class="flag">The control workload drifted by 3.1 %: another program was busy. Run it again on an '
                "idle machine to narrow the intervals.</p>"
            ),
        ),
        new_markdown_cell("## What would another machine do?"),
        code("show(figures.model(result))", 10, picture("Predicted band for an 8-core machine")),
        new_markdown_cell(
            '<p><span class="tag model">MODEL</span> 3.1× to 4.4× on 8 cores, from a serial part of 4 %.</p>\n\n'
            "| device | low | high |\n|---|---:|---:|\n| 8 cores | 3.1× | 4.4× |\n| 16 cores | 4.0× | 6.8× |"
        ),
        new_markdown_cell(METHOD),
    ]
    notebook = new_notebook(cells=cells)
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    notebook.metadata["inferbench"] = {
        "title": "Do several processes help?",
        "verdict": VERDICT,
        "machine_line": "Example CPU @ 2.60 GHz · 2 of 8 CPUs usable (cgroup) · 16 GB · Linux · Python 3.12",
        "when": "2026-07-12T14:03:02+00:00",
        "duration": "2 min 41 s",
        "command": "make report PROFILE=standard",
        "status": "complete",
        "run_id": "20260712-140302-standard",
        "notebook": "cpu_multiprocess",
    } | (about or {})
    return notebook


def code(source: str, count: int | None, *outputs: NotebookNode, tags: Sequence[str] = ()) -> NotebookNode:
    """A code cell that ran as number `count`."""
    return new_code_cell(source, execution_count=count, outputs=list(outputs), metadata={"tags": list(tags)})


def html(text: str) -> NotebookNode:
    """What `display(HTML(text))` leaves."""
    return new_output("display_data", data={"text/html": text, "text/plain": "<IPython.core.display.HTML object>"})


def picture(alt: str, *, bars: bool = False, **about: str) -> NotebookNode:
    """A real matplotlib figure at 144 dpi, as `display(fig, metadata=...)` leaves it."""
    payload = base64.b64encode(draw(bars=bars)).decode("ascii")
    return new_output(
        "display_data",
        data={"image/png": payload, "text/plain": "<Figure size 800x400 with 1 Axes>"},
        metadata={"image/png": {"alt": alt, **about}},
    )


def draw(*, bars: bool) -> bytes:
    """PNG bytes of a small figure with raw points under its summary."""
    from matplotlib.figure import Figure

    random = np.random.default_rng(7)
    figure = Figure(figsize=(8, 3.6), dpi=144, layout="constrained")
    axes = figure.subplots()
    if bars:
        for row, (name, median) in enumerate(zip(EXECUTORS, MEDIANS_S, strict=True)):
            points = median * random.normal(1, 0.03, 20)
            axes.plot(points, row + random.uniform(-0.15, 0.15, 20), ".", color="#9aa4b0")
            axes.plot(median, row, "|", color="#0a58a8", markersize=22, markeredgewidth=3)
            axes.annotate(f"{name}  {median:.2f} s", (median, row), (0, 16), textcoords="offset points", ha="center")
        axes.set(yticks=[], xlabel="time for 500,000 rows (s)", xlim=(0, 7), ylim=(-0.6, 3.7))
    else:
        sizes = 2.0 ** np.arange(8, 18)
        rate = 2e5 * sizes / (sizes + 4e3)
        axes.fill_between(sizes, rate * 0.93, rate * 1.07, color="#0a58a8", alpha=0.15, linewidth=0)
        axes.plot(sizes, rate, "o-", color="#0a58a8")
        axes.set(xscale="log", xlabel="batch (rows)", ylabel="rows/s")
    for side in ("top", "right", "left" if bars else "top"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def executors_table() -> str:
    """What pandas shows for a frame of executors; the times are in mixed units on purpose."""
    frame = pd.DataFrame(
        {
            "executor": EXECUTORS,
            "median": ["4.61 s", "2.52 s", "2.61 s", "6.25 s"],
            "start-up": ["–", "900 µs", "1.5 s", "12 ms"],
            "speedup": [1.0, 1.829, 1.766, 0.738],
            "interval": ["–", "[1.79, 1.86]", "[1.72, 1.80]", "[0.71, 0.76]"],
            "rows": [500_000, 500_000, 500_000, 500_000],
            "peak memory of all processes": ["210 MB", "214 MB", "233 MB", "702 MB"],
            "verdict": ["baseline", "faster", "faster", "slower"],
        }
    )
    return str(frame.to_html(index=False, classes="dataframe"))


def failed_notebook() -> NotebookNode:
    """The sample, stopped by an exception in the cell that draws its second figure; what follows never ran."""
    notebook = sample_notebook()
    at = next(index for index, cell in enumerate(notebook.cells) if "breakdown" in cell.source)
    error = new_output(
        "error",
        ename="WorkerDied",
        evalue="worker 2 ended by SIGKILL in batch 7, likely out of memory",
        traceback=[
            "\x1b[0;31m---------\x1b[0m",
            "\x1b[0;32mFile pool.py:88\x1b[0m in map",
            "\x1b[31mWorkerDied\x1b[0m: …",
        ],
    )
    notebook.cells[at].outputs = [error]
    for cell in notebook.cells[at + 1 :]:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def with_cells(*cells: NotebookNode, **about: Any) -> NotebookNode:
    """A notebook of just these cells."""
    notebook = new_notebook(cells=list(cells))
    notebook.metadata["inferbench"] = about
    nbformat.validate(notebook)
    return notebook


ANSWER = f"""
<div class="answer"><p>{VERDICT}</p>
<p>Stable: 20 rounds, drift 0.4 %, every path's predictions equal the reference (PASSED).</p></div>
<div class="cards">
<div class="card"><b>1.83×</b><span>2 threads against one process</span><small>95 % interval 1.79 to 1.86</small>
<span class="verdict faster">faster</span></div>
<div class="card"><b>0.74×</b><span>4 processes, naive pool</span><small>95 % interval 0.71 to 0.76</small>
<span class="verdict slower">slower</span></div>
<div class="card"><b>61 %</b><span>of the naive pool's time is not computing</span>
<small>start, pickling, transfer</small></div>
</div>
"""
READING = (
    '<p class="reading">Threads take 2.52 s against 4.61 s: <b>1.83×</b> '
    '(95 % interval 1.79 to 1.86), <span class="verdict faster">faster</span>. The naive pool reaches 0.74×, '
    "because it starts 4 processes and sends them 100 MB each time.</p>"
)
METHOD = """## Method

<details class="method"><summary>How this was measured</summary>

Rounds are interleaved in random order; the interval is a bootstrap over **rounds**. Formula: Sₚ = T₁ ÷ Tₚ,
Eₚ = Sₚ ÷ p. See [Barrett et al.](https://arxiv.org/abs/1602.00602) on warm-up.

</details>
"""
