"""Live progress: lines in a file for the runner, a bar for people, and what the console makes of them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from inferbench_lib.progress import PROGRESS_FILE, Progress
from inferbench_lib.report import notebooks
from inferbench_lib.report.notebooks import Console, describe, last_line


class FakeBar:
    """What tqdm was told."""

    def __init__(self, **given: Any) -> None:
        self.given, self.total, self.n, self.text, self.refreshed, self.closed = given, given["total"], 0, "", 0, False

    def set_description_str(self, text: str) -> None:
        self.text = text

    def update(self, n: int) -> None:
        self.n += n

    def refresh(self) -> None:
        self.refreshed += 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[FakeBar]:
    """Every bar that was made."""
    made: list[FakeBar] = []

    def make(**given: Any) -> FakeBar:
        made.append(FakeBar(**given))
        return made[-1]

    monkeypatch.setattr("tqdm.tqdm", make)
    return made


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that the runner names."""
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv(PROGRESS_FILE, str(path))
    return path


def test_runner_gets_lines_and_the_page_nothing(
    lines: Path, bars: list[FakeBar], capsys: pytest.CaptureFixture[str]
) -> None:
    """With a file named, each step is one JSON line, and nothing is printed or drawn."""
    with Progress("cpu_multiprocess", 4) as progress:
        progress.now("warming up")
        progress.step(2)
        progress.now("round 1")
        progress.step()
        progress.expect(3)
        progress.now("done")
    said = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [(line["label"], line["done"], line["total"], line["now"]) for line in said] == [
        ("cpu_multiprocess", 0, 4, "warming up"),
        ("cpu_multiprocess", 2, 4, "round 1"),
        ("cpu_multiprocess", 3, 3, "done"),
    ]
    assert all(line["at"] > 1.6e9 for line in said)
    assert bars == []
    assert "".join(capsys.readouterr()) == ""


def test_person_gets_a_bar(bars: list[FakeBar], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file it is one tqdm bar that says what is measured, counts steps, and is gone afterwards."""
    monkeypatch.delenv(PROGRESS_FILE, raising=False)
    with Progress("cpu_multiprocess", 4) as progress:
        progress.now("warming up")
        progress.step(2)
        progress.step()
        progress.expect(3)
        (bar,) = bars
        assert not bar.closed
    assert (bar.given["total"], bar.given["desc"], bar.given["leave"]) == (4, "cpu_multiprocess", False)
    assert (bar.text, bar.n, bar.total, bar.refreshed, bar.closed) == ("cpu_multiprocess: warming up", 3, 3, 1, True)


def test_bar_is_closed_after_a_fault(bars: list[FakeBar], monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception passes through and the terminal is left in order."""
    monkeypatch.delenv(PROGRESS_FILE, raising=False)
    with pytest.raises(ZeroDivisionError), Progress("x", 1):
        raise ZeroDivisionError
    assert bars[0].closed


def test_newest_whole_line_counts(tmp_path: Path) -> None:
    """A line that is still being written is not read; a missing or empty file is None."""
    path = tmp_path / "progress.jsonl"
    assert last_line(path) is None
    path.write_text("")
    assert last_line(path) is None
    path.write_text('{"done": 1}\n{"done": 2}\n{"don')
    assert last_line(path) == {"done": 2}


@pytest.mark.parametrize(
    ("done", "elapsed_s", "expected"),
    [
        (0, 5.0, "0% · round 1"),
        (9, 50.0, "9% · round 1"),  # too early to tell
        (10, 50.0, "10% · round 1 · about 7 min 30 s left"),
        (50, 45.0, "50% · round 1 · about 45 s left"),
        (100, 45.0, "100% · round 1 · about 0.0 s left"),
    ],
)
def test_line_says_how_much_is_left(done: int, elapsed_s: float, expected: str) -> None:
    """The time left follows from the time taken and the share done, once a tenth is done."""
    assert describe({"done": done, "total": 100, "now": "round 1"}, elapsed_s) == expected


def test_nothing_yet_is_starting() -> None:
    """Before the first line, and with no steps at all, there is no division by zero."""
    assert describe(None, 3.0) == "starting"
    assert describe({"done": 0, "total": 0, "now": "reading the machine"}, 3.0) == "0% · reading the machine"


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def follow(stream: io.StringIO, path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> str:
    """What a console says that sees `content` three times; waiting takes no time."""
    monkeypatch.setattr(notebooks, "PLAIN_LINE_EVERY_S", 0.0)
    seen = Console("[1/5] cpu_multiprocess", path, stream)
    answers = iter([False, False, False, True])

    def wait(_: float) -> bool:
        path.write_text(content)
        return next(answers)

    monkeypatch.setattr(seen._stop, "wait", wait)
    with seen:
        seen._thread.join(timeout=10)
    return stream.getvalue()


LINE = json.dumps({"done": 1, "total": 2, "now": "round 3: forest"}) + "\n"


def test_plain_stream_gets_plain_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the output is no terminal each line is a line of its own, without control characters."""
    said = follow(io.StringIO(), tmp_path / "p", monkeypatch, LINE)
    assert said.splitlines() == [
        "[1/5] cpu_multiprocess",
        *["    50% · round 3: forest · about 0.0 s left"] * 3,
    ]
    assert "\x1b" not in said


def test_terminal_gets_one_redrawn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal one line is redrawn in place, never wider than the terminal, and cleared at the end."""
    monkeypatch.setattr(notebooks.shutil, "get_terminal_size", lambda: type("Size", (), {"columns": 40}))
    said = follow(Terminal(), tmp_path / "p", monkeypatch, LINE)
    drawn = said.split("\r\x1b[2K")
    assert drawn[1:4] == ["[1/5] cpu_multiprocess  50% · round 3: fore"[:39]] * 3
    assert drawn[-1] == ""
    assert "\n" not in said


def test_console_begins_with_an_empty_file(tmp_path: Path) -> None:
    """Lines of the notebook before are not taken for this one's."""
    path = tmp_path / "p"
    path.write_text(LINE)
    with Console("x", path, io.StringIO()):
        assert path.read_text() == ""
