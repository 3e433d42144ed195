"""Turn an executed notebook into one self-contained HTML file. The only importer of nbconvert."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup
from nbformat import NotebookNode
from PIL import Image

from inferbench_lib.errors import ReportError
from inferbench_lib.report import markup, shell
from inferbench_lib.store import write_file

if TYPE_CHECKING:
    from nbconvert import HTMLExporter

CSS_PIXELS_PER_INCH = 96
_PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
_HIDDEN_TAGS = frozenset({"hide", "explore", "papermill-error-cell-tag"})
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class Banner:
    """Status of an incomplete page (failed, timed out, killed, interrupted, not run), its place and its reason."""

    status: str
    where: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class NavLink:
    """Link to another page of the run; `href` is relative, such as `a_page.html` or `../index.html`."""

    label: str
    href: str


def render_page(notebook: NotebookNode, html_path: Path, *, title: str, nav: Sequence[NavLink] = ()) -> None:
    """Write `notebook` as a page that loads nothing, whole or not at all.

    `notebook.metadata["inferbench"]` may hold `verdict, machine_line, when, duration, trust, command, status,
    reason, simulated, run_id, notebook`; an incomplete notebook gets a banner. Raises ReportError for a picture
    without alternative text.
    """
    shown = copy.deepcopy(notebook)
    shown.cells = [cell for cell in shown.cells if _is_shown(cell)]
    _describe_pictures(shown.cells)
    body = markup.finish(_exporter().from_notebook_node(shown)[0])
    about = dict(notebook.metadata.get("inferbench", {}))
    keys = ("machine_line", "when", "duration", "trust", "command", "simulated", "run_id", "notebook", "verdict")
    text = shell.render(
        "page.html.j2",
        title=title,
        page_name=html_path.name,
        nav=nav,
        banner=find_fault(notebook),
        about={key: about.get(key, "") for key in keys} | {"when": _moment(about.get("when", ""))},
        answer=Markup(body.answer),
        description=about.get("verdict", ""),
        body=Markup(body.html),
        parameters=Markup(body.parameters),
        contents=body.contents,
        terms=body.terms,
        has_error=body.has_error,
    )
    write_file(html_path, text)


def find_fault(notebook: NotebookNode) -> Banner | None:
    """Find why a notebook is incomplete: its recorded status, else a cell that raised, else a cell that never ran."""
    about = notebook.metadata.get("inferbench", {})
    numbered = [(number, cell) for number, cell in enumerate(notebook.cells, start=1) if cell.cell_type == "code"]
    raised = [(number, error) for number, cell in numbered for error in cell.outputs if error.output_type == "error"]
    where = f"cell {raised[0][0]}" if raised else ""
    reason = f"{raised[0][1].ename}: {plain_text(raised[0][1].evalue)}" if raised else ""
    status = about.get("status", "complete")
    if status != "complete":
        return Banner(status=status, where=where, reason=about.get("reason", "") or reason)
    if raised:
        return Banner(status="failed", where=where, reason=reason)
    code = [(number, cell) for number, cell in numbered if cell.source.strip() and _is_shown(cell)]
    unrun = [number for number, cell in code if cell.execution_count is None]
    if unrun and len(unrun) < len(code):
        return Banner(status="stopped early", where=f"cell {unrun[0]}", reason="this cell and those below it never ran")
    return None


def plain_text(text: str) -> str:
    """Return terminal output as it was seen: no colours, no control codes, redrawn lines in their last state."""
    lines = _ANSI.sub("", text).replace("\r\n", "\n").split("\n")
    return "\n".join(_CONTROL.sub("", line.rstrip("\r").rsplit("\r", 1)[-1]) for line in lines)


def _moment(when: str) -> str:
    """Return an ISO time as `<time>`, other text unchanged."""
    try:
        return shell.moment(datetime.fromisoformat(when))
    except ValueError:
        return when


def _is_shown(cell: NotebookNode) -> bool:
    """Return whether a cell is on the page: every cell without a hiding tag, and every cell that raised."""
    raised = any(output.output_type == "error" for output in cell.get("outputs", []))
    return raised or _HIDDEN_TAGS.isdisjoint(cell.metadata.get("tags", []))


def _describe_pictures(cells: Sequence[NotebookNode]) -> None:
    """Refuse a picture without alternative text, except in a cell that raised while drawing."""
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
                about["alt"] = "Unfinished: the cell raised an error"


def data_uri(payload: str, media_type: str) -> str:
    """Return a picture (base64) as a data URI; a PNG as lossless WebP where that is smaller."""
    payload = "".join(payload.split())
    if media_type == "image/png":
        packed = BytesIO()
        _opened(payload).convert("RGBA").save(packed, format="WEBP", lossless=True, quality=80, method=3)
        webp = base64.b64encode(packed.getvalue()).decode("ascii")
        if len(webp) < len(payload):
            media_type, payload = "image/webp", webp
    return f"data:{media_type};base64,{payload}"


def css_size(payload: str, media_type: str) -> str:
    """Return attributes with a PNG's size in CSS pixels, so that the page does not jump; "" for other kinds."""
    if media_type != "image/png":
        return ""
    picture = _opened(payload)
    per_inch = picture.info.get("dpi", (CSS_PIXELS_PER_INCH, CSS_PIXELS_PER_INCH))
    width, height = (round(n * CSS_PIXELS_PER_INCH / dpi) for n, dpi in zip(picture.size, per_inch, strict=True))
    return f' width="{width}" height="{height}"'


def _opened(payload: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(payload)))


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
    exporter.register_filter("data_uri", data_uri)
    exporter.register_filter("css_size", css_size)
    exporter.register_filter("base64", lambda text: base64.b64encode(text.encode()).decode("ascii"))
    return exporter
