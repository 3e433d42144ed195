"""Telemetry: parsers and rules exact, the watching process alive, harmless and gone with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from machine_trees import write_tree
from nvml_stub import ready
from processes import eventually, is_running

from inferbench_lib.errors import NotAvailable
from inferbench_lib.machine.sampler import Sampler
from inferbench_lib.records import Flag
from inferbench_lib.timing.memory import PeakMemory, memory_of_tree
from inferbench_lib.timing.nvml import GpuReading
from inferbench_lib.timing.readings import (
    Reading,
    parse_cpu_times,
    parse_process_cpu_s,
    parse_swap_bytes,
    read_frequency_hz,
    read_host,
    read_temperature_c,
    read_tree_cpu_s,
)
from inferbench_lib.timing.telemetry import Telemetry, flags, select, summarize, within

STAT = """cpu  1000 20 300 9000 50 6 7 80 90 0
cpu0 400 10 100 4000 20 1 2 30 40 0
cpu1 600 10 200 5000 30 5 5 50 50 0
intr 1234
"""


def test_cpu_times_over_all_and_over_some_cpus() -> None:
    """Guest time is inside user time and is not counted again; steal is neither busy nor idle."""
    assert parse_cpu_times(STAT, (), 100) == {"total_s": 104.63, "busy_s": 13.33, "steal_s": 0.8}
    assert parse_cpu_times(STAT, (1,), 100) == {"total_s": 59.0, "busy_s": 8.2, "steal_s": 0.5}
    assert parse_cpu_times("cpu  1 2 3 4\n", (), 1) == {"total_s": 10.0, "busy_s": 6.0, "steal_s": 0.0}
    assert parse_cpu_times("", (), 100) == {}


def test_process_times_when_the_name_is_awkward() -> None:
    """Own time and that of children that were waited for; the name holds blanks and a parenthesis."""
    stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 1 2 3 4 100 50 30 20 20 0 1 0 999 1 1"
    assert parse_process_cpu_s(stat, 100) == 2.0


def test_swap() -> None:
    """Pages in and out are bytes; a system that does not count them is unknown."""
    assert parse_swap_bytes("pgpgin 5\npswpin 3\npswpout 4\n", 4096) == 7 * 4096
    assert parse_swap_bytes("pgpgin 5\n", 4096) is None


def test_tree_times_add_up_over_descendants_of_every_thread(tmp_path: Path) -> None:
    """A child of a second thread counts, and so does its own child; a stranger does not."""

    def stat(pid: int, ticks: int) -> str:
        return f"{pid} (python) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 1 1 1"

    tick_s = os.sysconf("SC_CLK_TCK")
    files = {
        "proc/10/stat": stat(10, 1 * tick_s),
        "proc/10/task/10/children": "",
        "proc/10/task/11/children": "20 ",
        "proc/20/stat": stat(20, 2 * tick_s),
        "proc/20/task/20/children": "30",
        "proc/30/stat": stat(30, 4 * tick_s),
        "proc/99/stat": stat(99, 8 * tick_s),
    }
    root = write_tree(tmp_path, files)
    assert read_tree_cpu_s(10, root) == 7.0
    assert read_tree_cpu_s(12345, root) is None


def test_clock_and_temperature_of_the_right_sensors(tmp_path: Path) -> None:
    """The fastest of the CPUs asked for; the hottest CPU sensor, and no disk's."""
    files = {
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "800000\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3200000\n",
        "sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq": "4000000\n",
        "sys/class/hwmon/hwmon0/name": "nvme\n",
        "sys/class/hwmon/hwmon0/temp1_input": "99000\n",
        "sys/class/hwmon/hwmon1/name": "k10temp\n",
        "sys/class/hwmon/hwmon1/temp1_input": "61500\n",
        "sys/class/hwmon/hwmon1/temp2_input": "70250\n",
        "sys/class/thermal/thermal_zone0/type": "acpitz\n",
        "sys/class/thermal/thermal_zone0/temp": "98000\n",
        "sys/class/thermal/thermal_zone1/type": "x86_pkg_temp\n",
        "sys/class/thermal/thermal_zone1/temp": "69000\n",
    }
    root = write_tree(tmp_path, files)
    assert read_frequency_hz(root, (0, 1)) == 3.2e9
    assert read_temperature_c(root) == 70.25


def test_the_load_of_one_minute_is_read(tmp_path: Path) -> None:
    """It is the first number of `/proc/loadavg`."""
    root = write_tree(tmp_path, {"proc/loadavg": "1.25 0.80 0.40 2/345 6789\n"})
    assert read_host(os.getpid(), root).load_1min == 1.25


def test_nothing_to_read_is_none_everywhere(tmp_path: Path) -> None:
    """A system without `/proc` and `/sys` gives a reading of nothing but the moment."""
    reading = asdict(read_host(os.getpid(), tmp_path))
    known = {name for name, value in reading.items() if value not in (None, {})}
    assert known == {"at_s", "n_cpus"}


def reading(at_s: float, **values: Any) -> Reading:
    """A reading of a machine with 4 CPUs."""
    return Reading(at_s=at_s, n_cpus=4, **values)


def test_selected_readings_reach_around_the_stretch() -> None:
    """The nearest reading before the start and the nearest after the end belong to it."""
    readings = [reading(float(second)) for second in range(10)]
    assert [one.at_s for one in select(readings, 2.5, 4.5)] == [2.0, 3.0, 4.0, 5.0]
    assert [one.at_s for one in select(readings, 3.0, 4.0)] == [3.0, 4.0]
    assert [one.at_s for one in select(readings, -5.0, 0.5)] == [0.0, 1.0]
    assert [one.at_s for one in select(readings, 8.5, 99.0)] == [8.0, 9.0]
    assert select([], 0.0, 1.0) == ()


def test_summary_of_a_stretch() -> None:
    """Counters are differences over the stretch, gauges a series; 10 s × 4 CPUs are 40 CPU-seconds."""
    first = reading(
        100.0, load_1min=1.0, total_s=1000.0, busy_s=500.0, steal_s=10.0, own_s=50.0, swap_bytes=4096, throttled_s=1.0,
        throttled_periods=5, frequency_hz=3e9, temperature_c=60.0, thermal_throttle_events=7,
    )  # fmt: skip
    middle = reading(
        105.0, load_1min=3.0, total_s=1020.0, busy_s=520.0, steal_s=10.5, own_s=60.0, swap_bytes=4096, throttled_s=1.0,
        throttled_periods=5, frequency_hz=2e9, temperature_c=80.0, thermal_throttle_events=7,
    )  # fmt: skip
    last = reading(
        110.0, load_1min=2.0, total_s=1040.0, busy_s=530.0, steal_s=11.0, own_s=70.0, swap_bytes=12288, throttled_s=1.5,
        throttled_periods=8, frequency_hz=2.5e9, temperature_c=70.0, thermal_throttle_events=9,
    )  # fmt: skip
    gpu = (
        GpuReading(temperature_c=70, power_w=200.0, clock_hz=1.5e9, memory_bytes=100),
        GpuReading(temperature_c=60, power_w=20.0, clock_hz=1.9e9, memory_bytes=300, throttle_reasons=("gpu idle",)),
        GpuReading(temperature_c=75, power_w=180.0, clock_hz=1.4e9, memory_bytes=200, throttle_reasons=("sync boost",)),
    )
    assert summarize([first, middle, last], gpu=gpu, gpu_default_clock_hz=1.6e9) == Telemetry(
        start_s=100.0,
        end_s=110.0,
        steal_share=1.0 / 40.0,
        other_load_share=(30.0 - 20.0) / 40.0,
        own_cpus=2.0,
        grown={"swap_bytes": 8192, "throttled_s": 0.5, "throttled_periods": 3, "thermal_throttle_events": 2},
        gpu_clock_hz=1.5e9,
        gpu_default_clock_hz=1.6e9,
        gpu_throttle_reasons=("gpu idle", "sync boost"),
        series={
            "at_s": (100.0, 105.0, 110.0),
            "load_1min": (1.0, 3.0, 2.0),
            "frequency_hz": (3e9, 2e9, 2.5e9),
            "temperature_c": (60.0, 80.0, 70.0),
            "gpu_temperature_c": (70, 60, 75),
            "gpu_power_w": (200.0, 20.0, 180.0),
            "gpu_clock_hz": (1.5e9, 1.9e9, 1.4e9),
            "gpu_memory_bytes": (100, 300, 200),
        },
    )


def test_summary_of_one_reading_has_gauges_and_no_differences() -> None:
    """A counter seen once says nothing."""
    summary = summarize([reading(1.0, total_s=5.0, steal_s=1.0, load_1min=0.5)])
    assert (summary.series["load_1min"], summary.steal_share, summary.grown) == ((0.5,), None, {})


def test_summary_of_nothing_says_so() -> None:
    """No reading is a reason."""
    assert summarize([]).reason == "no reading was taken"


def test_summary_of_a_lost_gpu_keeps_what_it_said_before() -> None:
    """The figures before the loss stay, the loss and its reason stand beside them."""
    gpu = (GpuReading(temperature_c=70), GpuReading(lost_reason="GPU is lost"))
    lost = summarize([reading(1.0), reading(2.0)], gpu=gpu)
    assert lost.series["gpu_temperature_c"] == (70, None)
    assert (lost.gpu_lost, lost.gpu_reason) == (True, "GPU is lost")


QUIET: dict[str, Any] = {
    "start_s": 0.0, "end_s": 1.0, "steal_share": 0.02, "other_load_share": 0.10,
    "grown": {"swap_bytes": 1 << 20, "throttled_periods": 0, "throttled_s": 0.0, "thermal_throttle_events": 0},
    "gpu_clock_hz": 0.75e9, "gpu_default_clock_hz": 1e9, "gpu_throttle_reasons": ("gpu idle", "sync boost"),
}  # fmt: skip
LOUD = [
    ({"reason": "the watcher ended"}, "not_watched", False,
     "not watched: the watcher ended. Nobody knows what else this machine did meanwhile."),
    ({"steal_share": 0.0201}, "steal", False,
     "the hypervisor took 2.0 % of the CPU time (limit 2 %). "
     "Run again when the host is quieter, or on a dedicated machine."),
    ({"other_load_share": 0.25}, "other_load", False,
     "other programs used 25 % of the CPUs. Close them and run again."),
    ({"grown": {"swap_bytes": 3_000_000}}, "swap", False,
     "3.0 MB went through swap (limit 1.0 MB). Free memory or use a smaller data set."),
    ({"grown": {"throttled_periods": 1, "throttled_s": 0.25}}, "cgroup_throttled", False,
     "the CPU quota stopped the process in 1 periods, 0.25 s in all (limit 0). "
     "Use fewer processes and threads, or raise the quota."),
    ({"grown": {"thermal_throttle_events": 3}}, "cpu_thermal", False,
     "the CPU slowed down from heat 3 times (limit 0). Let it cool, and improve the cooling."),
    ({"gpu_lost": True, "gpu_reason": "GPU is lost"}, "gpu_lost", True,
     "the GPU stopped answering (GPU is lost). Check the kernel log, then restart the machine."),
    ({"gpu_throttle_reasons": ("gpu idle", "hardware slowdown")}, "gpu_throttled", True,
     "the GPU throttled its clock (hardware slowdown). "
     "Improve its cooling, or lock its clock at a rate that it can hold."),
    ({"gpu_clock_hz": 0.74e9}, "gpu_clock", True,
     "the GPU ran at 740 MHz, 74 % of its default (limit 75 %). "
     "Warm it up longer and check its power and temperature limits."),
]  # fmt: skip


def test_a_quiet_machine_has_no_flags() -> None:
    """Exactly at every limit nothing is flagged; neither is a machine that tells nothing."""
    assert flags(Telemetry(**QUIET)) == ()
    assert flags(Telemetry(start_s=0.0, end_s=1.0)) == ()


@pytest.mark.parametrize(("change", "name", "invalidates", "text"), LOUD)
def test_each_limit_flags_alone(change: dict[str, Any], name: str, invalidates: bool, text: str) -> None:
    """One thing beyond its limit is one flag: what was seen, the limit, what to do."""
    assert flags(Telemetry(**(QUIET | change))) == (Flag(name=name, text=text, invalidates=invalidates),)


def test_the_sampler_watches_this_process() -> None:
    """A second of this process's work is seen as its own, from outside."""
    with Sampler(interval_s=0.1) as sampler:
        start_s, before_s = time.monotonic(), time.process_time()
        while time.process_time() < before_s + 0.5:
            pass
        end_s = time.monotonic()
        seen = sampler.window(start_s, end_s)
    assert seen.reason == ""
    assert seen.start_s <= start_s
    assert seen.end_s >= end_s
    assert len(seen.series["at_s"]) >= 2
    if sys.platform == "linux":
        assert seen.own_cpus is not None
        assert 0.4 < seen.own_cpus * (seen.end_s - seen.start_s) < 4
        assert seen.steal_share is not None
        assert 0.0 <= seen.steal_share <= 1.0
    assert "expected a live process for window, got one that was closed" in sampler.window(0.0, 1.0).reason


def test_a_watching_process_that_ended_is_a_reason() -> None:
    """The measurement goes on without telemetry, and says why."""
    with Sampler(interval_s=0.1) as sampler:
        os.kill(sampler._watcher.pid, signal.SIGKILL)
        worker = f"worker 'telemetry' (pid {sampler._watcher.pid}): "
        ended = sampler.window(0.0, 1.0).reason
        assert ended.startswith(f"{worker}expected an answer to window(0.0, 1.0, 'cpu'), but it was ended by SIGKILL")
        assert sampler.window(0.0, 1.0).reason.startswith(f"{worker}expected a live process for window")


def test_the_watching_process_ends_with_its_sampler() -> None:
    """A second sampler has a process of its own, which goes on."""
    with Sampler(interval_s=0.1) as second:
        with Sampler(interval_s=0.1) as first:
            watcher = first._watcher.pid
        assert watcher != second._watcher.pid
        assert eventually(lambda: not is_running(watcher))
        assert second.window(0.0, time.monotonic()).series["at_s"]


def test_ctrl_c_is_left_to_the_parent() -> None:
    """An interrupt that reaches the whole process group does not end the watching."""
    with Sampler(interval_s=0.1) as sampler:
        os.kill(sampler._watcher.pid, signal.SIGINT)
        assert sampler.window(0.0, time.monotonic()).reason == ""


def test_a_sampler_opened_in_a_thread_outlives_it() -> None:
    """The kernel would end the watching process with the thread that started it."""
    sampler = Sampler(interval_s=0.1)
    opener = threading.Thread(target=sampler.__enter__)
    opener.start()
    opener.join()
    time.sleep(0.2)
    assert sampler.window(0.0, time.monotonic()).reason == ""
    sampler.__exit__()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("forked_sibling", [False, True])
def test_the_watching_process_dies_with_a_killed_parent(forked_sibling: bool) -> None:
    """Also when a forked child of the parent still holds the pipe open."""
    code = f"""
import os, time
from inferbench_lib.machine.sampler import Sampler
with Sampler(interval_s=30) as sampler:
    sibling = os.fork() if {forked_sibling} else -1
    if sibling == 0:
        time.sleep(30)
        os._exit(0)
    print(sampler._watcher.pid, sibling, flush=True)
    time.sleep(30)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    watcher, sibling = (int(word) for word in parent.stdout.readline().split())
    assert is_running(watcher)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: not is_running(watcher))
    if sibling > 0:
        os.kill(sibling, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="the stub is found by LD_LIBRARY_PATH, which is Linux")
def test_a_throttling_gpu_reaches_the_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From NVIDIA's library through the watching process to a flag that invalidates."""
    trace = tmp_path / "trace"
    trace.write_text(
        "device name=Card uuid=GPU-1 driver=550 memory=2147483648 default_mhz=1000 max_mhz=1200\n"
        "sample temperature=96 power_mw=60000 clock_mhz=600 memory=1000 pstate=0 throttle=0x40\n"
    )
    for name, value in ready.environment(ready.build(), trace).items():
        monkeypatch.setenv(name, value)
    with Sampler(interval_s=0.05) as sampler:
        sampler.watch("cuda:0")
        seen = sampler.window(0.0, time.monotonic() + 60.0, "cuda:0")
    assert {seen.series["gpu_temperature_c"][-1], seen.series["gpu_power_w"][-1]} == {96, 60.0}
    assert seen.gpu_clock_hz == 0.6e9
    assert (seen.gpu_default_clock_hz, seen.gpu_reason) == (1e9, "")
    assert {flag.name for flag in flags(seen) if flag.invalidates} == {"gpu_throttled", "gpu_clock"}


TWO_GPUS = (
    "device name=Card uuid=GPU-1 driver=550 memory=2147483648 default_mhz=1000 max_mhz=1200\n"
    "sample temperature=60 power_mw=60000 clock_mhz=600 memory=1000 pstate=0 throttle=0x{first:x}\n"
    "device name=Card uuid=GPU-2 driver=550 memory=2147483648 default_mhz=1000 max_mhz=1200\n"
    "sample temperature=50 power_mw=50000 clock_mhz=1000 memory=1000 pstate=0 throttle=0x{second:x}\n"
)


@pytest.mark.skipif(sys.platform != "linux", reason="the stub is found by LD_LIBRARY_PATH, which is Linux")
@pytest.mark.parametrize(
    ("device", "bits", "expected"),
    [
        ("cpu", (0x40, 0x40), []),
        ("cuda:0", (0x40, 0), ["gpu_throttled", "gpu_clock"]),
        ("cuda:0", (0, 0x40), ["gpu_clock"]),
        ("cuda:1", (0x40, 0), []),
        ("cuda:1", (0, 0x8), ["gpu_throttled"]),
        ("cuda:0", (0x4, 0), []),  # the card's own power limit
        ("cuda:0", (0x1, 0), []),  # idle
        ("cuda:0", (0x2, 0), []),  # a clock that the user set
    ],
)
def test_a_gpu_touches_only_what_ran_on_it(
    device: str, bits: tuple[int, int], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hot GPU is no matter of the CPU's cells nor of another GPU's; a power limit or an idle clock is of none."""
    trace = tmp_path / "trace"
    trace.write_text(TWO_GPUS.format(first=bits[0], second=bits[1]))
    for name, value in ready.environment(ready.build(), trace).items():
        monkeypatch.setenv(name, value)
    with Sampler(interval_s=0.05) as sampler:
        sampler.watch("cuda:0")
        sampler.watch("cuda:1")
        seen = sampler.window(0.0, time.monotonic() + 60.0, device)
    assert [flag.name for flag in flags(seen) if flag.name.startswith("gpu")] == expected


def test_a_gpu_is_judged_only_while_its_work_ran() -> None:
    """What was read just before and just after a turn belongs to the host's figures, not to the GPU's."""
    slow, fast = GpuReading(clock_hz=0.3e9), GpuReading(clock_hz=1e9)
    readings = [reading(at, gpus={"cuda:0": gpu}) for at, gpu in ((1.0, slow), (2.0, fast), (3.0, slow))]
    assert within(readings, "cuda:0", 1.5, 2.5) == (GpuReading(), fast, GpuReading())
    assert within(readings, "cuda:1", 1.5, 2.5) == (GpuReading(),) * 3


def test_memory_of_a_tree_counts_its_children() -> None:
    """A child that holds 60 MB makes the tree at least that much larger than the process alone."""
    child = "import sys; block = bytearray(60_000_000); print('ready', flush=True); sys.stdin.read()"
    code = (
        "import subprocess, sys; print('alone', flush=True); input(); "
        f"subprocess.run([sys.executable, '-c', {child!r}])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == "alone\n"
        alone = memory_of_tree(parent.pid)
        print(file=parent.stdin, flush=True)
        assert parent.stdout.readline() == "ready\n"
        with PeakMemory(parent.pid, interval_s=0.01) as peak:
            tree = memory_of_tree(parent.pid)
            parent.communicate("")
    assert tree > alone + 50e6
    assert peak.n_bytes > alone + 50e6


class Told:
    """A process that tells `rss` and `pss`, or refuses its PSS, or has ended."""

    def __init__(self, pid: int, *children: Told, rss: int = 0, pss: int | None = None, error: Any = None) -> None:
        self.pid, self._children, self._rss, self._pss, self._error = pid, children, rss, pss, error

    def children(self, recursive: bool) -> list[Told]:
        assert recursive
        return list(self._children)

    def memory_info(self) -> Any:
        return SimpleNamespace(rss=self._rss)

    def memory_full_info(self) -> Any:
        READ.append(self.pid)
        if self._error:
            raise self._error
        return SimpleNamespace(rss=self._rss, **({} if self._pss is None else {"pss": self._pss}))


READ: list[int] = []


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        ([], 8),
        ([Told(2, rss=5, pss=4)], 12),
        ([Told(2, rss=5)], 15),
        ([Told(2, rss=5, error=psutil.AccessDenied(2))], 15),
        ([Told(2, error=psutil.NoSuchProcess(2)), Told(3, rss=5, pss=4)], 12),
    ],
)
def test_memory_is_pss_and_rss_where_a_process_does_not_tell(
    children: list[Told], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The creator of shared memory is read last, so that a page is not counted whole once and in part again."""
    READ.clear()
    monkeypatch.setattr(psutil, "Process", lambda pid: Told(pid, *children, rss=10, pss=8))
    assert memory_of_tree(1) == expected
    assert READ[-1] == 1


def test_memory_of_a_process_that_is_gone_is_not_available() -> None:
    """The message names the process and what was expected."""
    with pytest.raises(NotAvailable, match=r"^memory of process 4194305: expected a running process, got: "):
        memory_of_tree(4194305)
