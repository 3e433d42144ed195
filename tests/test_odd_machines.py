"""Unusual machines never stop a report: whatever the files and answers hold, what is not understood is unknown."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine_trees import FOLDER, parts, unpack

from inferbench_lib.machine.facts import microarchitecture
from inferbench_lib.machine.hardware import machine_from_sysctl, read_linux
from inferbench_lib.records import Machine
from inferbench_lib.timing.procfs import parse_cpu_list, parse_number
from inferbench_lib.timing.usable import memory_limit_bytes, parse_throttling, throttling, usable_cpus

LINUX = sorted(path.stem for path in FOLDER.glob("*.txt") if "sysctl" not in parts(path.stem))
MAC = sorted(path.stem for path in FOLDER.glob("*.txt") if "sysctl" in parts(path.stem))

NEARLY = ["", "-1", "0", "1", "max", "²", "9" * 30, "1-", "0-3,x", "[", "K", "4.2.1", "nan", "1e9", "0x10", "\0", ":"]
GARBAGE = st.one_of(
    st.sampled_from(NEARLY), st.text(max_size=30), st.binary(max_size=30).map(lambda b: b.decode("latin1"))
)
TREE = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def kinds_are_right(found: Machine) -> None:
    """Every field holds its type: a number, a text, or what stands for unknown."""
    assert found.numa_nodes is None or isinstance(found.numa_nodes, int)
    for name in ("cpu_model", "governor", "virtualisation", "operating_system", "huge_pages"):
        assert isinstance(getattr(found, name), str)
        assert getattr(found, name)
    for name in ("caches", "cache_shared_by", "core_kinds"):
        assert all(isinstance(value, int) and value > 0 for value in getattr(found, name).values())
    assert found.frequency_hz is None or found.frequency_hz > 0
    assert {field.name for field in fields(found)} == set(vars(found))


@TREE
@given(data=st.data())
def test_garbage_in_any_file_of_a_linux_tree(data: st.DataObject) -> None:
    """Some files hold anything, are folders, or are not there; the rest is read."""
    folder = Path(tempfile.mkdtemp())
    try:
        name = data.draw(st.sampled_from(LINUX))
        root = unpack(name, folder)
        paths = sorted(parts(name))
        for path in data.draw(st.sets(st.sampled_from(paths), min_size=1, max_size=6)):
            (root / path).unlink()
            act = data.draw(st.sampled_from(["garbage", "garbage", "folder", "gone"]))
            if act == "garbage":
                (root / path).write_text(data.draw(GARBAGE), encoding="utf-8", errors="replace")
            elif act == "folder":
                (root / path).mkdir()
        kinds_are_right(read_linux(root))
        count, reason = usable_cpus(root)
        assert count >= 1
        assert reason
        assert (memory_limit_bytes(root) or 1) > 0
        throttling(root)
    finally:
        shutil.rmtree(folder)


@TREE
@given(data=st.data())
def test_garbage_in_any_field_of_cpuinfo(data: st.DataObject) -> None:
    """Any value, and any line that is no field."""
    folder = Path(tempfile.mkdtemp())
    try:
        root = unpack(data.draw(st.sampled_from(LINUX)), folder)
        file = root / "proc/cpuinfo"
        lines = file.read_text(encoding="utf-8").splitlines()
        for index in data.draw(st.sets(st.integers(0, len(lines) - 1), min_size=1, max_size=8)):
            name, colon, _ = lines[index].partition(":")
            lines[index] = f"{name}{colon} {data.draw(GARBAGE)}" if data.draw(st.booleans()) else data.draw(GARBAGE)
        file.write_text("\n".join(lines), encoding="utf-8", errors="replace")
        kinds_are_right(read_linux(root))
    finally:
        shutil.rmtree(folder)


@TREE
@given(data=st.data())
def test_garbage_from_sysctl(data: st.DataObject) -> None:
    """Any value of any name."""
    lines = parts(data.draw(st.sampled_from(MAC)))["sysctl"].splitlines()
    for index in data.draw(st.sets(st.integers(0, len(lines) - 1), min_size=1, max_size=8)):
        lines[index] = f"{lines[index].partition(':')[0]}: {data.draw(GARBAGE)}"
    kinds_are_right(machine_from_sysctl("\n".join(lines)))


def test_numbers_lists_and_counters_that_are_none() -> None:
    """Other scripts' digits, endless numbers, halves of ranges."""
    assert [parse_number(text) for text in ("12", "-3", "²", "٣", "9" * 30, "", "1.0", " 1")] == [12, -3, *[None] * 6]
    assert [parse_cpu_list(text) for text in ("0-", "a", "3-1", "0-3x", "0,,1")] == [frozenset()] * 5
    assert parse_cpu_list("0,2-3\n") == {0, 2, 3}
    assert parse_throttling("nr_throttled many\nthrottled_usec 5") is None


@pytest.mark.parametrize("error", [ImportError("gone"), OSError("no lscpu"), ValueError("max of nothing")])
def test_a_microarchitecture_that_cannot_be_told_is_unknown(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """archspec asks the system in ways that a strange one may not answer."""
    import archspec.cpu

    def fail() -> None:
        raise error

    monkeypatch.setattr(archspec.cpu, "host", fail)
    assert microarchitecture() == "unknown"


def test_a_microarchitecture_is_named_with_its_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """The family's general level beside it, once where that is all that is known."""
    import archspec.cpu

    monkeypatch.setattr(archspec.cpu, "host", lambda: archspec.cpu.TARGETS["zen3"])
    assert microarchitecture() == "zen3 (x86_64_v3)"
    monkeypatch.setattr(archspec.cpu, "host", lambda: archspec.cpu.TARGETS["aarch64"])
    assert microarchitecture() == "aarch64"
