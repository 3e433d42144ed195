"""From an executed notebook to one HTML file that is complete in itself. The only importer of nbconvert."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup
from nbformat import NotebookNode

from inferbench_lib.errors import ReportError
from inferbench_lib.report import markup, pictures, shell
from inferbench_lib.store import write_file

if TYPE_CHECKING:
    from nbconvert import HTMLExporter

_PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
_UNSHOWN_TAGS = frozenset({"hide", "explore", "papermill-error-cell-tag"})
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_RELATIVE = re.compile(r"(?:\.\./)*\w[\w.-]*(?:/\w[\w.-]*)*(?:#[\w-]+)?")


@dataclass(frozen=True, kw_only=True)
class Banner:
    """Why a page is not complete: `status` (failed, timed out, killed, interrupted, not run), where, and why."""

    status: str
    where: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class NavLink:
    """A way to another page of the run; `href` is relative, such as `cpu_vs_gpu.html` or `../index.html`."""

    label: str
    href: str


def render_page(
    notebook: NotebookNode,
    html_path: Path,
    *,
    title: str,
    banner: Banner | None = None,
    nav: Sequence[NavLink] = (),
) -> int:
    """Write `notebook` as a page that loads nothing, whole or not at all; the bytes written.

    `notebook.metadata["inferbench"]` may say `verdict, machine_line, when, duration, trust, command, status,
    reason, simulated, run_id, notebook`. Without a `banner` one is made from that status, or from the notebook itself
    when a cell raised or was never run, so that a truncated notebook cannot look complete.
    Raises ReportError for a picture without alt text and for a link that leads out of the reports' folder.
    """
    _require_relative(nav)
    shown = copy.deepcopy(notebook)
    shown.cells = [cell for cell in shown.cells if _is_shown(cell)]
    _describe_pictures(shown.cells)
    body = markup.finish(_exporter().from_notebook_node(shown)[0])
    about = dict(notebook.metadata.get("inferbench", {}))
    keys = ("machine_line", "when", "duration", "trust", "command", "simulated", "run_id", "notebook")
    text = shell.render(
        "page.html.j2",
        title=title,
        page_name=html_path.name,
        nav=nav,
        banner=banner or find_fault(notebook),
        about={key: about.get(key, "") for key in keys} | {"when": _moment(about.get("when", ""))},
        verdict=about.get("verdict", ""),
        answer=Markup(body.answer),
        description=about.get("verdict", ""),
        body=Markup(body.html),
        parameters=Markup(body.parameters),
        contents=body.contents,
        terms=body.terms,
        has_error=body.has_error,
    )
    write_file(html_path, text)
    return len(text.encode())


def find_fault(notebook: NotebookNode) -> Banner | None:
    """What the notebook itself says went wrong: its recorded status, else a cell that raised, else one never run."""
    about = notebook.metadata.get("inferbench", {})
    numbered = [(number, cell) for number, cell in enumerate(notebook.cells, start=1) if cell.cell_type == "code"]
    raised = [(number, error) for number, cell in numbered for error in cell.outputs if error.output_type == "error"]
    where = f"cell {raised[0][0]}" if raised else ""
    reason = f"{raised[0][1].ename}: {plain_text(raised[0][1].evalue)}" if raised else ""
    status = about.get("status", "complete")
    if status != "complete":
        return Banner(status=status, where=about.get("where", where), reason=about.get("reason", "") or reason)
    if raised:
        return Banner(status="failed", where=where, reason=reason)
    code = [(number, cell) for number, cell in numbered if cell.source.strip() and _is_shown(cell)]
    unrun = [number for number, cell in code if cell.execution_count is None]
    if unrun and len(unrun) < len(code):
        return Banner(status="stopped early", where=f"cell {unrun[0]}", reason="this cell and what follows never ran")
    return None


def plain_text(text: str) -> str:
    """Terminal output as a reader saw it: colours and control codes gone, redrawn lines in their last state."""
    lines = _ANSI.sub("", text).replace("\r\n", "\n").split("\n")
    return "\n".join(_CONTROL.sub("", line.rstrip("\r").rsplit("\r", 1)[-1]) for line in lines)


def _moment(when: str) -> str:
    """An ISO time as `<time>`; other words as they are."""
    try:
        return shell.moment_words(datetime.fromisoformat(when))
    except ValueError:
        return when


def _tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def _is_shown(cell: NotebookNode) -> bool:
    """Tagged cells are dropped, but never one that raised."""
    raised = any(output.output_type == "error" for output in cell.get("outputs", []))
    return raised or not (_tags(cell) & _UNSHOWN_TAGS)


def _require_relative(nav: Sequence[NavLink]) -> None:
    for link in nav:
        if not _RELATIVE.fullmatch(link.href):
            raise ReportError(
                f"navigation link {link.label!r}: expected a relative name such as 'cpu_vs_gpu.html', "
                f"got {link.href!r}; a page links only to files beside it"
            )


def _describe_pictures(cells: Sequence[NotebookNode]) -> None:
    """Refuse a picture without alt text, except one that a cell left half-drawn when it raised."""
    for cell in cells:
        outputs = cell.get("outputs", [])
        raised = any(output.output_type == "error" for output in outputs)
        for output in outputs:
            for kind in _PICTURES:
                if kind not in output.get("data", {}) or "text/html" in output.data:
                    continue
                about = output.metadata.setdefault(kind, {})
                if str(about.get("alt", "")).strip():
                    continue
                if not raised:
                    first_line = cell.source.strip().split("\n")[0]
                    raise ReportError(
                        f"picture of cell {cell.get('id', '?')} ({first_line!r}): expected an alt text, got none; "
                        f'write display(fig, metadata={{"{kind}": {{"alt": "what it shows"}}}})'
                    )
                about["alt"] = "Unfinished: the cell raised while it drew this"


@cache
def _exporter() -> HTMLExporter:
    from nbconvert import HTMLExporter  # a second of import that only rendering needs

    exporter = HTMLExporter(
        template_name="inferbench",
        extra_template_basedirs=[str(shell.TEMPLATE_DIR)],
        exclude_anchor_links=True,
    )
    exporter.config.NbConvertBase.display_data_priority = ["text/html", *_PICTURES, "text/markdown", "text/plain"]
    exporter.register_filter("terminal_text", plain_text)
    exporter.register_filter("data_uri", pictures.data_uri)
    exporter.register_filter("css_size", pictures.css_size)
    exporter.register_filter("base64", lambda text: base64.b64encode(text.encode()).decode("ascii"))
    return exporter
