"""Turn an executed notebook into one self-contained HTML file. The only importer of nbconvert."""

from __future__ import annotations

import base64
import copy
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

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


def render_page(notebook: NotebookNode, html_path: Path, *, title: str, nav: Sequence[tuple[str, str]] = ()) -> None:
    """Write `notebook` as a page that loads nothing, whole or not at all; `nav` has label and address of other pages.

    `notebook.metadata["inferbench"]` may hold `verdict, machine_line, when, duration, trust, command, status,
    reason, simulated, run_id, notebook`; an incomplete notebook gets a banner. Raises ReportError for a picture
    without alternative text.
    """
    shown = copy.deepcopy(notebook)
    shown.cells = [cell for cell in shown.cells if _is_shown(cell)]
    _describe_pictures(shown.cells)
    about = defaultdict(str, notebook.metadata.get("inferbench", {}))
    text = shell.render(
        "page.html.j2",
        title=title,
        page_name=html_path.name,
        nav=nav,
        banner=_fault(about, notebook.cells),
        about=about,
        description=about["verdict"],
        body=markup.finish(_exporter().from_notebook_node(shown)[0]),
    )
    write_file(html_path, text)


def _fault(about: Mapping[str, str], cells: Sequence[NotebookNode]) -> dict[str, str]:
    """Return status, place and reason of an incomplete notebook; nothing for a complete one.

    Its recorded status counts, else a cell that raised, else a cell that never ran.
    """
    code = [(f"cell {number}", cell) for number, cell in enumerate(cells, start=1) if cell.cell_type == "code"]
    raised = [(where, error) for where, cell in code for error in cell.outputs if error.output_type == "error"]
    where, error = raised[0] if raised else ("", None)
    status = about["status"] or "complete"
    if error is not None or status != "complete":
        reason = about["reason"] or (f"{error.ename}: {plain_text(error.evalue)}" if error else "")
        return {"status": "failed" if status == "complete" else status, "where": where, "reason": reason}
    ran = [(where, cell.execution_count) for where, cell in code if cell.source.strip() and _is_shown(cell)]
    unrun = [where for where, count in ran if count is None]
    if unrun and len(unrun) < len(ran):
        return {"status": "stopped early", "where": unrun[0], "reason": "this cell and those below it never ran"}
    return {}


def plain_text(text: str) -> str:
    """Return terminal output as it was seen: no colours, no control codes, redrawn lines in their last state."""
    lines = _ANSI.sub("", text).replace("\r\n", "\n").split("\n")
    return "\n".join(_CONTROL.sub("", line.rstrip("\r").rsplit("\r", 1)[-1]) for line in lines)


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
