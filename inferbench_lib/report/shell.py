"""Render the templates: HTML with one style sheet, one script and a policy that blocks everything else, and text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from inferbench_lib.report.words import duration

TEMPLATE_DIR = Path(__file__).parent / "template"


def content_security_policy(script: str) -> str:
    """Return a page's policy: no request, only embedded pictures, and only the script with this text's SHA-256."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def moment(when: datetime) -> Markup:
    """Return a `<time>` element, to the minute, in the time zone in which it was recorded."""
    text = f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".strip()
    return Markup('<time datetime="{}">{}</time>').format(when.isoformat(timespec="seconds"), text)


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return rows of text as lines in which every column begins at the same place."""
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in listed]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_DIR),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"duration": duration, "moment": moment, "cells": astuple, "columns": columns}
    return environment


def render(template: str, **context: Any) -> str:
    """Return the HTML of `template`; every value in `context` is escaped unless it is `Markup`."""
    style = (TEMPLATE_DIR / "page.css").read_text(encoding="utf-8")
    script = (TEMPLATE_DIR / "page.js").read_text(encoding="utf-8")
    page = _environment().get_template(template)
    policy = content_security_policy(script)
    return page.render({"description": ""} | context, style=Markup(style), script=Markup(script), policy=policy)


def render_text(template: str, **context: Any) -> str:
    """Return the text of `template`, in which nothing is escaped."""
    return _environment().get_template(template).render(context)
