"""Link the terms of `glossary.yaml` from their first occurrence on a page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString

PROSE = "p, li, figcaption"
UNLINKED = "a, code, pre, h1, h2, h3, h4, summary, script, style, td, th, b, .answer, .card, .cards, .flag"


@dataclass(frozen=True)
class Term:
    """A term, its meaning, and the pattern by which it is found in a text: by default the name and its plural."""

    name: str
    meaning: str
    pattern: str = ""

    @property
    def anchor(self) -> str:
        """Return its address on the page."""
        return "term-" + re.sub(r"\W+", "-", self.name.lower()).strip("-")

    def find(self, text: str) -> re.Match[str] | None:
        """Find the first occurrence as a whole word."""
        pattern = self.pattern or rf"{re.escape(self.name)}s?"
        return re.search(rf"(?<![\w-])(?:{pattern})(?![\w-])", text, re.IGNORECASE)


TERMS = tuple(
    Term(**entry) for entry in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
)
"""In alphabetical order."""


def link_terms(soup: BeautifulSoup) -> tuple[Term, ...]:
    """Link each term from its first occurrence in prose; return the terms that occur anywhere on the page."""
    page_text = soup.get_text(" ")
    found = tuple(term for term in TERMS if term.find(page_text))
    waiting = list(found)
    for text in list(soup.find_all(string=True)):
        if _is_prose(text):
            _link(text, waiting, soup)
    return found


def _is_prose(text: NavigableString) -> bool:
    """Return whether a text is in a paragraph, list item or caption, outside links, code, headings and the answer."""
    parent = text.parent
    if parent is None or type(text) is not NavigableString:  # its subclasses are comments and the like
        return False
    return parent.css.closest(PROSE) is not None and parent.css.closest(UNLINKED) is None


def _link(text: NavigableString, waiting: list[Term], soup: BeautifulSoup) -> None:
    """Link the waiting terms that occur in this text, from left to right, the longer of two at the same place."""
    pieces: list[NavigableString | Tag] = []
    rest = str(text)
    while hits := [(hit.start(), -hit.end(), hit, term) for term in waiting if (hit := term.find(rest))]:
        _, _, hit, term = min(hits, key=lambda one: one[:2])
        link = soup.new_tag("a", attrs={"class": "term", "href": f"#{term.anchor}"})
        link.string = hit[0]
        pieces += [NavigableString(rest[: hit.start()]), link]
        rest = rest[hit.end() :]
        waiting.remove(term)
    if pieces:
        text.replace_with(*pieces, NavigableString(rest))
