"""The words that a page uses and a reader may not know: their meaning here, and links from where they first occur."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString

from inferbench_lib.report.glossary_terms import TERMS, Term

UNLINKED = ("a", "code", "pre", "h1", "h2", "h3", "h4", "summary", "script", "style", "td", "th", "b")
UNLINKED_CLASSES = frozenset({"answer", "card", "cards", "flag"})


def link_terms(soup: BeautifulSoup) -> tuple[Term, ...]:
    """Link each term from its first occurrence in running text; the terms that occur anywhere on the page."""
    words = soup.get_text(" ")
    found = tuple(term for term in TERMS if re.search(_whole(term.pattern), words, re.IGNORECASE))
    waiting = list(found)
    for text in list(soup.find_all(string=True)):
        if _is_prose(text):
            _link(text, waiting, soup)
    return found


def _whole(pattern: str) -> str:
    return rf"(?<![\w-])(?:{pattern})(?![\w-])"


def _is_prose(text: NavigableString) -> bool:
    """Whether a text stands in a paragraph or an item of a list, outside of links, code, headings and the answer."""
    within = [parent for parent in text.parents if isinstance(parent, Tag)]
    if type(text) is not NavigableString or not any(tag.name in ("p", "li", "figcaption") for tag in within):
        return False
    return not any(
        tag.name in UNLINKED or UNLINKED_CLASSES & set(map(str, tag.get_attribute_list("class"))) for tag in within
    )


def _link(text: NavigableString, waiting: list[Term], soup: BeautifulSoup) -> None:
    """Link the terms that still wait for their first occurrence and stand in this text, from left to right."""
    pieces: list[NavigableString | Tag] = []
    rest = str(text)
    while True:
        hits = [(hit.start(), -hit.end(), hit, term) for term in waiting if (hit := _find(term, rest))]
        if not hits:
            break
        _, _, hit, term = min(hits, key=lambda one: one[:2])
        link = soup.new_tag("a", attrs={"class": "term", "href": f"#{term.anchor}"})
        link.string = hit[0]
        pieces += [NavigableString(rest[: hit.start()]), link]
        rest = rest[hit.end() :]
        waiting.remove(term)
    if pieces:
        text.replace_with(*pieces, NavigableString(rest))


def _find(term: Term, text: str) -> re.Match[str] | None:
    return re.search(_whole(term.pattern), text, re.IGNORECASE)
