"""From a notebook's plain HTML to a page's: anchors, numbered figures, tables that scroll and sort, nothing remote."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bs4 import BeautifulSoup, Tag

from inferbench_lib.report.glossary import link_terms
from inferbench_lib.report.glossary_terms import Term
from inferbench_lib.report.table_markup import frame_table

_DROPPED = ("script", "iframe", "object", "embed", "link", "meta", "base", "form", "template", "video", "audio")


@dataclass(frozen=True, kw_only=True)
class Heading:
    """One line of the contents."""

    level: int
    anchor: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Body:
    """A notebook's HTML, ready for the page, with what the page shows elsewhere taken out of it."""

    html: str
    answer: str
    parameters: str
    contents: tuple[Heading, ...]
    terms: tuple[Term, ...]
    has_error: bool


def finish(html: str) -> Body:
    """Make a notebook's HTML fit for a page that stands alone."""
    soup = BeautifulSoup(html, "html.parser")
    _unplug(soup)
    _tidy_failure(soup)
    if first := soup.find("h1"):
        first.decompose()  # the page says its title itself
    for extra in soup.find_all("h1"):
        extra.name = "h2"
    taken = {"main", "failed", "run-it-again", "glossary"}
    contents = tuple(_anchor(heading, taken, soup) for heading in soup.find_all(["h2", "h3"]))
    for number, figure in enumerate(soup.find_all("figure"), start=1):
        _number(figure, number, soup)
    for number, table in enumerate(soup.find_all("table"), start=1):
        frame_table(table, number, soup)
    for block in soup.find_all("pre"):
        block["tabindex"] = "0"  # a box that can scroll can be reached by keyboard
    terms = link_terms(soup)
    answer = "\n".join(str(block.extract()) for block in _answer(soup))
    parameters = "\n".join(str(block.extract()) for block in soup.select("details.parameters"))
    return Body(
        html=str(soup),
        answer=answer,
        parameters=parameters,
        contents=contents,
        terms=terms,
        has_error=soup.select_one("#failed") is not None,
    )


def _unplug(soup: BeautifulSoup) -> None:
    """Take out what could run or fetch. The page's policy forbids it too; this keeps the console silent."""
    for element in soup.find_all(_DROPPED):
        element.decompose()
    for style in soup.find_all("style"):
        if style.has_attr("scoped") or not style.get_text(strip=True):
            style.decompose()  # pandas' own; ours is in the page
    for element in soup.find_all(True):
        for name in [name for name in element.attrs if name.startswith("on") or name in {"srcset", "ping", "border"}]:
            if not (element.name == "source" and str(element[name]).startswith("data:image/")):
                del element[name]
    for picture in soup.find_all("img"):
        if not str(picture.get("src", "")).startswith("data:"):
            picture.replace_with(f"[picture: {picture.get('alt') or 'not in this file'}]")
    for link in soup.find_all("a", href=True):
        target = str(link["href"]).strip()
        if re.match(r"https?://", target):
            address = re.sub(r"^https?://", "", target)
            if address not in link.get_text():
                link.append(f" ({address})")
            link.unwrap()
        elif re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|//", target) and not (
            target.startswith("data:") and link.has_attr("download")
        ):
            link.unwrap()


def _tidy_failure(soup: BeautifulSoup) -> None:
    """Drop papermill's own error notes, whose links lead nowhere here, and give the first error an anchor."""
    for note in soup.select("#papermill-error-cell, a[href='#papermill-error-cell']"):
        (note.find_parent("span") or note).decompose()
    if error := soup.select_one("div.error"):
        error["id"] = "failed"


def _answer(soup: BeautifulSoup) -> list[Tag]:
    """The answer and its cards, which the page shows above everything else."""
    first = soup.select_one(".answer")
    cards = first.find_next_sibling() if first else None
    return [block for block in (first, cards) if block and {"answer", "cards"} & set(block.get_attribute_list("class"))]


def _anchor(heading: Tag, taken: set[str], soup: BeautifulSoup) -> Heading:
    text = heading.get_text(" ", strip=True)
    stem = re.sub(r"[^\w]+", "-", text.lower()).strip("-") or "section"
    anchor, count = stem, 1
    while anchor in taken:
        count += 1
        anchor = f"{stem}-{count}"
    taken.add(anchor)
    heading["id"] = anchor
    heading.append(_permalink(anchor, text, soup))
    return Heading(level=int(heading.name[1]), anchor=anchor, text=text)


def _permalink(anchor: str, text: str, soup: BeautifulSoup) -> Tag:
    link = soup.new_tag("a", attrs={"class": "permalink", "href": f"#{anchor}", "aria-label": f"Link to {text}"})
    link.string = "#"
    return link


def _number(figure: Tag, number: int, soup: BeautifulSoup) -> None:
    """`Figure 3.` before the caption, and a permalink after it."""
    figure["id"] = f"figure-{number}"
    if caption := figure.find("figcaption"):
        words = soup.new_tag("span", attrs={"class": "caption"})
        label = soup.new_tag("b")
        label.string = f"Figure {number}."
        words.extend([label, " ", *list(caption.contents)])
        caption.append(words)
        caption.append(_permalink(f"figure-{number}", f"figure {number}", soup))
