"""Rewrite a notebook's HTML for a page: anchors, numbered figures, tables that scroll and sort, nothing remote."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain, count

from bs4 import BeautifulSoup, Tag
from markupsafe import Markup

from inferbench_lib.report.glossary import Term, link_terms

_DROPPED = ("script", "iframe", "object", "embed", "link", "meta", "base", "form", "template", "video", "audio")
# Factors of a unit's prefix, so that "900 µs" sorts below "1.2 ms". Sources: SI brochure (9th ed.), IEC 80000-13.
_SCALES = {"n": 1e-9, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_SCALES |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_TIMES_S = {"min": 60.0, "h": 3600.0}
_NUMBER = re.compile(
    r"^[\s~≈<>≤≥±\[(]*(?P<sign>[-−–+]?)(?P<digits>\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?)(?:–\d[\d,.]*)?"
    r"(?:\s*(?P<prefix>[KMGT]i|[nµμmkMGT])?(?P<unit>s|B|Hz|FLOP|b|W)\b|\s*(?P<time>min|h)\b)?"
)
_BLANKS = frozenset({"", "–", "—", "-", "−", "nan", "NaN", "None", "<NA>", "n/a", "withheld"})


@dataclass(frozen=True, kw_only=True)
class Body:
    """HTML of a notebook for its page, and the parts that the page shows in other places.

    `contents` has level, anchor and text of each heading.
    """

    html: Markup
    answer: Markup
    parameters: Markup
    contents: tuple[tuple[int, str, str], ...]
    terms: tuple[Term, ...]
    has_error: bool


def finish(html: str) -> Body:
    """Rewrite a notebook's HTML for a page of its own."""
    soup = BeautifulSoup(html, "html.parser")
    _unplug(soup)
    _tidy_failure(soup)
    if first := soup.find("h1"):
        first.decompose()  # the page's title says the same
    for extra in soup.find_all("h1"):
        extra.name = "h2"
    taken = {"main", "failed", "run-it-again", "glossary"}
    contents = tuple(_anchor(heading, taken, soup) for heading in soup.find_all(["h2", "h3"]))
    for number, figure in enumerate(soup.find_all("figure"), start=1):
        _number(figure, number, soup)
    for number, table in enumerate(soup.find_all("table"), start=1):
        _frame_table(table, number, soup)
    for block in soup.find_all("pre"):
        block["tabindex"] = "0"  # a box that can scroll can be reached by keyboard
    terms = link_terms(soup)
    return Body(
        answer=_extracted(_answer(soup)),
        parameters=_extracted(soup.select("details.parameters")),
        html=Markup(soup),
        contents=contents,
        terms=terms,
        has_error=soup.select_one("#failed") is not None,
    )


def _extracted(blocks: list[Tag]) -> Markup:
    return Markup("\n".join(str(block.extract()) for block in blocks))


def _unplug(soup: BeautifulSoup) -> None:
    """Remove whatever could run or fetch. The page's policy blocks it too; this keeps the console silent."""
    for element in soup.find_all(_DROPPED):
        element.decompose()
    for style in soup.find_all("style"):
        if style.has_attr("scoped") or not style.get_text(strip=True):
            style.decompose()  # that of pandas; the page has its own
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
    """Remove papermill's error notes, whose links lead nowhere here, and give the first error an anchor."""
    for note in soup.select("#papermill-error-cell, a[href='#papermill-error-cell']"):
        (note.find_parent("span") or note).decompose()
    if error := soup.select_one("div.error"):
        error["id"] = "failed"


def _answer(soup: BeautifulSoup) -> list[Tag]:
    """Find the answer, the code below it and its cards, which the page shows on top."""
    return soup.select(".answer, .answer ~ pre.copy, .answer ~ .cards")


def _anchor(heading: Tag, taken: set[str], soup: BeautifulSoup) -> tuple[int, str, str]:
    text = heading.get_text(" ", strip=True)
    stem = re.sub(r"[^\w]+", "-", text.lower()).strip("-") or "section"
    numbered = (f"{stem}-{number}" for number in count(2))
    anchor = next(name for name in chain([stem], numbered) if name not in taken)
    taken.add(anchor)
    heading["id"] = anchor
    heading.append(_permalink(anchor, text, soup))
    return int(heading.name[1]), anchor, text


def _permalink(anchor: str, text: str, soup: BeautifulSoup) -> Tag:
    link = soup.new_tag("a", attrs={"class": "permalink", "href": f"#{anchor}", "aria-label": f"Link to {text}"})
    link.string = "#"
    return link


def _number(figure: Tag, number: int, soup: BeautifulSoup) -> None:
    """Write `Figure 3.` before the caption, and a permalink after it."""
    figure["id"] = f"figure-{number}"
    if caption := figure.find("figcaption"):
        words = soup.new_tag("span", attrs={"class": "caption"})
        label = soup.new_tag("b")
        label.string = f"Figure {number}."
        words.extend([label, " ", *list(caption.contents)])
        caption.append(words)
        caption.append(_permalink(f"figure-{number}", f"figure {number}", soup))


def _frame_table(table: Tag, number: int, soup: BeautifulSoup) -> None:
    """Put a table into a scrolling box, align its number columns and, where its shape allows, let it sort.

    A table of pandas sorts when it has one row of headings and no joined cells.
    """
    box = {"class": "table", "role": "region", "tabindex": "0", "aria-label": f"Table {number}"}
    table.wrap(soup.new_tag("div", attrs=box))
    for cell in table.select("tr[style], th[style], td[style]"):
        if str(cell["style"]).startswith("text-align"):
            del cell["style"]  # the whole column is aligned below
    heads = [row.find_all(["th", "td"]) for row in table.select("thead tr")]
    rows = [row.find_all(["th", "td"]) for row in table.select("tbody tr")]
    if not heads or any(len(row) != len(heads[-1]) for row in rows):
        return  # without a heading, or with joined cells
    for position, column in enumerate(heads[-1]):
        if column.name == "th" and column.get_text(strip=True):
            column["scope"] = "col"
        _set_keys([row[position] for row in rows], column, is_label=position == 0)
    if len(heads) == 1 and "dataframe" in table.get_attribute_list("class"):
        _add_class(table, "sortable")


def sort_key(text: str) -> float | None:
    """Return the number at the start of a cell's text, in its base unit; None without one."""
    found = _NUMBER.match(text.strip())
    if not found:
        return None
    value = float(found["digits"].replace(",", ""))
    scale = _TIMES_S.get(found["time"] or "") or _SCALES[found["prefix"] or ""]
    return (-value if found["sign"] in {"-", "−", "–"} else value) * scale


def _set_keys(cells: list[Tag], head: Tag, *, is_label: bool) -> None:
    """Store the numbers of a column whose cells all start with one or are blank; right-align all but labels."""
    texts = [cell.get_text(" ", strip=True) for cell in cells]
    blanks = [text in _BLANKS or text.startswith("not ") for text in texts]
    keys = [None if blank else sort_key(text) for text, blank in zip(texts, blanks, strict=True)]
    if all(blanks) or any(key is None and not blank for key, blank in zip(keys, blanks, strict=True)):
        return
    for cell, key in zip(cells, keys, strict=True):
        cell["data-sort"] = "" if key is None else f"{key:.12g}"  # no table shows more
    if is_label and any(character.isalpha() for text in texts for character in text):
        return
    for cell in [*cells, head]:
        _add_class(cell, "num")


def _add_class(element: Tag, name: str) -> None:
    element["class"] = " ".join([*map(str, element.get_attribute_list("class")), name])
