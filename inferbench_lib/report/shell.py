"""The frame around every HTML file: one style sheet, one script, a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATE_DIR = Path(__file__).parent / "template"
FRONT = "summary"
"""The notebook whose page is the front page of a run."""


def page_name(notebook: str) -> str:
    """The file that a notebook's page is: the summary is what opens a run's folder."""
    return "index.html" if notebook == FRONT else f"{notebook}.html"


def content_security_policy(script: str) -> str:
    """A page's policy: no request, pictures from the page itself, and only the script that has this text's SHA-256."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def duration_words(seconds: float) -> str:
    """Seconds as a reader says them: `8.4 s`, `1 min 05 s`, `2 h 03 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment_words(when: datetime) -> Markup:
    """A moment as a `<time>` element, to the minute, in the time zone it was recorded in."""
    words = f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".strip()
    return Markup('<time datetime="{}">{}</time>').format(when.isoformat(timespec="seconds"), words)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_DIR), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"duration": duration_words, "moment": moment_words}
    return environment


def render(template: str, **context: Any) -> str:
    """The HTML of `template`; every value in `context` is escaped unless it is `Markup`."""
    style = (TEMPLATE_DIR / "page.css").read_text(encoding="utf-8")
    script = (TEMPLATE_DIR / "page.js").read_text(encoding="utf-8")
    context.setdefault("description", "")
    return (
        _environment()
        .get_template(template)
        .render(style=Markup(style), script=Markup(script), policy=content_security_policy(script), **context)
    )
