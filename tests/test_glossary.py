"""The glossary explains the words of its page, and only those, once each."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from page_helpers import render
from sample_notebook import sample_notebook

from inferbench_lib.report.glossary import TERMS, link_terms


def linked(html: str) -> tuple[list[str], str]:
    """The names of the terms on a page, and its HTML with their links."""
    soup = BeautifulSoup(html, "html.parser")
    return [term.name for term in link_terms(soup)], str(soup)


def test_first_occurrence_in_prose_leads_to_its_meaning() -> None:
    """The first one is linked, with its ending; later ones, and parts of other words, are not."""
    names, html = linked("<p>Speedups beat medians; a speedup of the underground.</p>")
    assert names == ["median", "speedup"]
    assert html == (
        '<p><a class="term" href="#term-speedup">Speedups</a> beat <a class="term" href="#term-median">medians</a>; '
        "a speedup of the underground.</p>"
    )


def test_the_longer_term_wins() -> None:
    """Where two terms begin at the same place the longer one is linked."""
    _, html = linked("<p>A batch size.</p>")
    assert html == '<p>A <a class="term" href="#term-batch-size">batch size</a>.</p>'


@pytest.mark.parametrize(
    "html",
    [
        "<h2>Speedup</h2>",
        '<p><a href="#x">speedup</a></p>',
        "<p><code>speedup</code></p>",
        "<table><tr><td>speedup</td></tr></table>",
        '<div class="answer"><p>speedup</p></div>',
    ],
)
def test_headings_links_code_tables_and_the_answer_stay_as_they_are(html: str) -> None:
    """There a term is explained at the end, but not linked."""
    assert linked(html) == (["speedup"], html)


def test_a_mark_is_no_ordinary_word() -> None:
    """MODEL marks what was not measured; a model that is sent to a worker is none of its kind."""
    assert linked("<p>The model is sent.</p>")[0] == []
    assert linked("<p>MODEL, not measured.</p>")[0] == ["MODEL"]


def test_a_page_without_terms_has_no_glossary() -> None:
    """Words that are no terms leave nothing."""
    assert linked("<p>Nothing here.</p>") == ([], "<p>Nothing here.</p>")


def test_terms_are_in_order_apart_and_say_something() -> None:
    """Alphabetical, each with an address of its own and a sentence that does not begin with the term itself."""
    names = [term.name.lower() for term in TERMS]
    assert names == sorted(names)
    assert len({term.anchor for term in TERMS}) == len(TERMS)
    assert [term.name for term in TERMS if not term.meaning.endswith(".")] == []
    assert [term.name for term in TERMS if not term.find(term.name.split(",")[0])] == []


def test_every_link_of_a_page_has_its_entry(tmp_path: Path) -> None:
    """What is linked is explained, what is explained occurs, and the contents lead to it."""
    soup = BeautifulSoup(render(sample_notebook(), tmp_path), "html.parser")
    links = {str(link["href"])[1:] for link in soup.select("a.term")}
    entries = {str(entry["id"]) for entry in soup.select(".glossary dt")}
    assert links
    assert links <= entries
    assert soup.select_one('.contents a[href="#glossary"]') is not None
    text = " ".join(part.get_text(" ") for part in soup.select("article, header.title, .again"))
    for term in TERMS:
        assert (term.anchor in entries) == bool(term.find(text)), term.name
