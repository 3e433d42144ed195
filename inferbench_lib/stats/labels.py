"""Name cells by everything that tells them apart: briefly in `summary.json`, in words on a page."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields

from inferbench_lib.records import Case

ENGINES = {"forest": "sklearn", "cnn-small": "torch", "cnn-medium": "torch", "cnn-large": "torch"}
"""The usual engine of each workload, which its labels leave out."""
SHORT = {"n_processes": "p", "n_threads": "t", "batch_size": "b"}
NOUNS = {"n_processes": ("process", "processes"), "n_threads": ("thread", "threads"), "batch_size": ("input",) * 2}


@dataclass(frozen=True, kw_only=True)
class Label:
    """A name for cells: `key` within the names of figures, `more` the words for what is not usual about them."""

    key: str
    more: tuple[str, ...] = ()

    def inside(self, name: str) -> str:
        """Return the name of a figure: `name[key]`, or `name` where nothing has to be added."""
        return f"{name}[{self.key}]" if self.key else name


def labels(cases: Iterable[Case], *named: str, apart_from: Collection[str] = ()) -> dict[Case, Label]:
    """Label cases by their fields `named` and by whatever else tells them apart, except the fields `apart_from`.

    A label always holds an engine or a precision that is not the usual one. It holds any other field where that differs
    from the first case with the same name. Cases that differ only in fields `apart_from` share a label.
    """
    found: dict[Case, Label] = {}
    firsts: dict[tuple[str, ...], Case] = {}
    for case in cases:
        usual = {"engine": ("native", ENGINES.get(case.workload)), "precision": ("fp32",)}
        free = [of.name for of in fields(case) if of.name not in (*named, *apart_from)]
        unusual = [name for name in free if name in usual and getattr(case, name) not in usual[name]]
        lead = tuple(str(getattr(case, name)) for name in (*named, *unusual))
        first = firsts.setdefault(lead, case)
        differing = [name for name in free if name not in unusual and getattr(case, name) != getattr(first, name)]
        found[case] = Label(
            key=",".join((*lead, *(_short(case, name) for name in differing))),
            more=(*lead[len(named) :], *(_words(case, name) for name in differing)),
        )
    return found


def _short(case: Case, name: str) -> str:
    value = getattr(case, name)
    return ("cold" if value else "warm") if name == "cold" else f"{SHORT.get(name, '')}{value}"


def _words(case: Case, name: str) -> str:
    value = getattr(case, name)
    return f"{value:,} {NOUNS[name][value != 1]}" if isinstance(value, int) and name in NOUNS else _short(case, name)
