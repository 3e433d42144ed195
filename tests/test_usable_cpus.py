"""Usable CPUs: the smaller of affinity and CPU quota, wherever in the control groups the quota sits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from machine_trees import unpack, write_tree

from inferbench_lib.timing.procfs import parse_cpu_list
from inferbench_lib.timing.usable import (
    group_paths,
    memory_limit_bytes,
    oversubscription_flag,
    parse_memberships,
    parse_throttling,
    throttling,
    usable_cpus,
)

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNTS = "\n".join(
    (
        "33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
        "34 25 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
    )
)
OWN = "sys/fs/cgroup/user.slice/run.scope"


def machine(root: Path, files: dict[str, str], *, allowed: str = "0-63", groups: str, mounts: str = V2_MOUNT) -> Path:
    """A machine with 64 CPUs online."""
    base = {
        "sys/devices/system/cpu/online": "0-63\n",
        "proc/self/status": f"Name:\tpython\nCpus_allowed:\tff\nCpus_allowed_list:\t{allowed}\nMems_allowed:\t1\n",
        "proc/self/cgroup": groups,
        "proc/self/mountinfo": mounts + "\n",
    }
    return write_tree(root, base | files)


V2_CASES = {
    "no quota anywhere": ({f"{OWN}/cpu.max": "max 100000\n"}, (64, "64 of 64 CPUs usable")),
    "quota of the own group": ({f"{OWN}/cpu.max": "200000 100000\n"}, (2, "2 of 64 CPUs usable (cgroup quota)")),
    "quota of an ancestor": (
        {f"{OWN}/cpu.max": "max 100000\n", "sys/fs/cgroup/user.slice/cpu.max": "400000 100000\n"},
        (4, "4 of 64 CPUs usable (cgroup quota)"),
    ),
    "ancestor's quota below the own": (
        {f"{OWN}/cpu.max": "800000 100000\n", "sys/fs/cgroup/user.slice/cpu.max": "300000 100000\n"},
        (3, "3 of 64 CPUs usable (cgroup quota)"),
    ),
    "quota at the top that a container sees": (
        {"sys/fs/cgroup/cpu.max": "150000 50000\n"},
        (3, "3 of 64 CPUs usable (cgroup quota)"),
    ),
    "fraction of a CPU left out": ({f"{OWN}/cpu.max": "270000 100000\n"}, (2, "2 of 64 CPUs usable (cgroup quota)")),
    "less than one CPU": ({f"{OWN}/cpu.max": "50000 100000\n"}, (1, "1 of 64 CPUs usable (cgroup quota of 0.5 CPU)")),
    "quota above the machine": ({f"{OWN}/cpu.max": "9900000 100000\n"}, (64, "64 of 64 CPUs usable")),
    "a neighbour's quota": ({"sys/fs/cgroup/other.slice/cpu.max": "100000 100000\n"}, (64, "64 of 64 CPUs usable")),
}


@pytest.mark.parametrize("name", V2_CASES)
def test_version_2_quota(name: str, tmp_path: Path) -> None:
    """The smallest quota of the own group and every ancestor holds, and no other group's."""
    files, expected = V2_CASES[name]
    assert usable_cpus(machine(tmp_path, files, groups="0::/user.slice/run.scope\n")) == expected


@pytest.mark.parametrize(
    ("quota_us", "expected"),
    [("-1", (64, "64 of 64 CPUs usable")), ("600000", (6, "6 of 64 CPUs usable (cgroup quota)"))],
)
def test_version_1_quota(quota_us: str, expected: tuple[int, str], tmp_path: Path) -> None:
    """Version 1 writes -1 for no quota, and its quota on an ancestor holds."""
    folder = "sys/fs/cgroup/cpu,cpuacct/docker"
    files = {
        f"{folder}/cpu.cfs_quota_us": f"{quota_us}\n",
        f"{folder}/cpu.cfs_period_us": "100000\n",
        f"{folder}/abc/cpu.cfs_quota_us": "-1\n",
        f"{folder}/abc/cpu.cfs_period_us": "100000\n",
    }
    root = machine(tmp_path, files, groups="4:memory:/docker/abc\n3:cpuacct,cpu:/docker/abc\n", mounts=V1_MOUNTS)
    assert usable_cpus(root) == expected


def test_affinity_smaller_than_quota(tmp_path: Path) -> None:
    """An affinity of 3 CPUs is what counts under a quota of 8."""
    files = {f"{OWN}/cpu.max": "800000 100000\n"}
    root = machine(tmp_path, files, allowed="0,4-5", groups="0::/user.slice/run.scope\n")
    assert usable_cpus(root) == (3, "3 of 64 CPUs usable (affinity)")


def test_affinity_lists_cpus_that_are_not_online(tmp_path: Path) -> None:
    """CPUs that could be plugged in do not count."""
    assert usable_cpus(machine(tmp_path, {}, allowed="0-511", groups="0::/\n")) == (64, "64 of 64 CPUs usable")


def test_container_whose_group_is_the_root_of_its_mount(tmp_path: Path) -> None:
    """A path that repeats the mount's root is found below the mount point."""
    mounts = "33 25 0:29 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"
    files = {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}
    root = machine(tmp_path, files, groups="3:cpu:/docker/abc\n", mounts=mounts)
    assert usable_cpus(root) == (2, "2 of 64 CPUs usable (cgroup quota)")


def test_group_outside_the_namespace_is_read_at_the_mount_point() -> None:
    """A path that leaves the namespace cannot be walked."""
    assert [str(path) for path in group_paths("/../../x", "/", "/sys/fs/cgroup")] == ["/sys/fs/cgroup"]


def test_no_proc_and_no_sys(tmp_path: Path) -> None:
    """Without either tree the system's own answer is taken."""
    count, reason = usable_cpus(tmp_path)
    assert count >= 1
    assert reason.startswith(f"{count} of {os.cpu_count()} CPUs usable")


def test_this_process_after_its_affinity_shrank() -> None:
    """A real affinity of one CPU is seen."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no sched_setaffinity")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus()[0] == 1
    finally:
        os.sched_setaffinity(0, before)


def test_memory_limit_of_both_versions(tmp_path: Path) -> None:
    """The smallest limit of either hierarchy holds; version 1's largest number means none."""
    files = {
        "sys/fs/cgroup/memory/docker/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/unified/docker/memory.max": "max\n",
        "sys/fs/cgroup/unified/memory.max": "2147483648\n",
    }
    mounts = "34 25 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" + V2_MOUNT.replace(
        "/sys/fs/cgroup rw", "/sys/fs/cgroup/unified rw"
    )
    root = machine(tmp_path, files, groups="4:memory:/docker\n0::/docker\n", mounts=mounts)
    assert memory_limit_bytes(root) == 2147483648


def test_no_memory_limit(tmp_path: Path) -> None:
    """Version 1's largest number alone is no limit."""
    files = {"sys/fs/cgroup/memory/docker/memory.limit_in_bytes": "9223372036854771712\n"}
    root = machine(tmp_path, files, groups="4:memory:/docker\n", mounts=V1_MOUNTS)
    assert memory_limit_bytes(root) is None


def test_throttling_counts_in_both_units() -> None:
    """Version 2 counts microseconds, version 1 nanoseconds."""
    expected = (4, 0.25)
    assert parse_throttling("nr_periods 9\nnr_throttled 4\nthrottled_usec 250000") == expected
    assert parse_throttling("nr_periods 9\nnr_throttled 4\nthrottled_time 250000000") == expected
    assert parse_throttling("usage_usec 1\nuser_usec 1") is None


def test_throttling_of_ancestors_adds_up(tmp_path: Path) -> None:
    """A group held back by its ancestor's quota was held back."""
    files = {
        f"{OWN}/cpu.stat": "nr_throttled 1\nthrottled_usec 1000000\n",
        "sys/fs/cgroup/user.slice/cpu.stat": "nr_throttled 2\nthrottled_usec 500000\n",
    }
    root = machine(tmp_path, files, groups="0::/user.slice/run.scope\n")
    assert throttling(root) == {"throttled_periods": 3, "throttled_s": 1.5}
    assert throttling(tmp_path / "nothing") == {}


def test_memberships_of_a_hybrid_system() -> None:
    """Each controller has its path; version 2 stands under an empty name; a path may hold a colon."""
    text = "5:cpuacct,cpu:/a\n1:name=systemd:/b:c\n0::/d\n"
    assert parse_memberships(text) == {"cpuacct": "/a", "cpu": "/a", "name=systemd": "/b:c", "": "/d"}


def test_cpu_lists() -> None:
    """Ranges and single numbers, and nothing at all."""
    assert parse_cpu_list("0-2,8,10-11\n") == {0, 1, 2, 8, 10, 11}
    assert parse_cpu_list("") == frozenset()


def test_oversubscription_names_what_was_asked_and_what_there_is() -> None:
    """Processes × threads above the usable CPUs are flagged, up to them they are not."""
    assert oversubscription_flag(2, 2, 4) is None
    flag = oversubscription_flag(4, 8, 2)
    assert flag is not None
    assert flag.name == "oversubscribed"
    assert not flag.invalidates
    assert flag.text == (
        "4 processes × 8 threads want 32 CPUs, 2 are usable: they will wait for each other; "
        "lower n_processes or the threads per process"
    )
    one = oversubscription_flag(1, 2, 1)
    assert one is not None
    assert one.text.startswith("1 process × 2 threads want 2 CPUs, 1 is usable: ")


@pytest.mark.parametrize(
    ("name", "usable", "limit_bytes"),
    [
        ("container_quota_v1", (3, "3 of 8 CPUs usable (cgroup quota)"), 4 << 30),
        ("container_quota_v2", (1, "1 of 8 CPUs usable (cgroup quota)"), 2 << 30),
    ],
)
def test_a_container_with_a_quota(name: str, usable: tuple[int, str], limit_bytes: int, tmp_path: Path) -> None:
    """Both versions of control groups, seen from within: the container's group is the top of what it sees."""
    root = unpack(name, tmp_path)
    assert usable_cpus(root) == usable
    assert memory_limit_bytes(root) == limit_bytes
