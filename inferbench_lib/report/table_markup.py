"""A table's markup: a scrolling box of its own, right-aligned numbers, and keys by which its columns sort."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup, Tag

# Powers of a unit's prefix, so that "900 µs" sorts below "1.2 ms". Sources: SI brochure (9th ed.), IEC 80000-13.
_SCALES = {"n": 1e-9, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BINARY_SCALES = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_TIMES_S = {"min": 60.0, "h": 3600.0}
_NUMBER = re.compile(
    r"^[\s~≈<>≤≥±\[(]*(?P<sign>[-−–+]?)(?P<digits>\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?)"
    r"(?:\s*(?P<prefix>[KMGT]i|[nµμmkMGT])?(?P<unit>s|B|Hz|FLOP|b|W)\b|\s*(?P<time>min|h)\b)?"
)
_BLANKS = frozenset({"", "–", "—", "-", "−", "nan", "NaN", "None", "<NA>", "n/a", "withheld"})


def frame_table(table: Tag, number: int, soup: BeautifulSoup) -> None:
    """Put a table in its own scrolling box, align its number columns and, where its shape allows, let it sort.

    A table of pandas sorts when it has one row of headings and no joined cells.
    """
    box = {"class": "table", "role": "region", "tabindex": "0", "aria-label": f"Table {number}"}
    table.wrap(soup.new_tag("div", attrs=box))
    for cell in table.select("tr[style], th[style], td[style]"):
        if str(cell["style"]).startswith("text-align"):
            del cell["style"]  # the whole column is aligned below
    head, body = table.find("thead"), table.find("tbody")
    heads = head.find_all("tr") if head else []
    if head is None or body is None or not heads:
        return
    columns = heads[-1].find_all(["th", "td"])
    rows = [row.find_all(["th", "td"]) for row in body.find_all("tr")]
    if any(len(row) != len(columns) for row in rows):
        return  # cells are joined over rows or columns
    for position, column in enumerate(columns):
        if column.name == "th" and column.get_text(strip=True):
            column["scope"] = "col"
        _key([row[position] for row in rows], column, is_label=position == 0)
    if len(heads) == 1 and "dataframe" in table.get_attribute_list("class"):
        _add_class(table, "sortable")


def sort_key(text: str) -> float | None:
    """The number that a table cell's text begins with, in its base unit; None when it does not begin with one."""
    found = _NUMBER.match(text.strip())
    if not found:
        return None
    value = float(found["digits"].replace(",", ""))
    prefix = found["prefix"] or ""
    scale = _TIMES_S.get(found["time"] or "") or _BINARY_SCALES.get(prefix) or _SCALES[prefix]
    return (-value if found["sign"] in {"-", "−", "–"} else value) * scale


def _key(cells: list[Tag], head: Tag, *, is_label: bool) -> None:
    """Where each cell of a column begins with a number or is blank, note the number; right-align all but labels."""
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
