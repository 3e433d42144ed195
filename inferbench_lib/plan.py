"""From a profile to a job: which notebooks to execute, with which parameters, all of them checked first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inferbench_lib import config, studies
from inferbench_lib.errors import ConfigError
from inferbench_lib.report.runner import ROOT, Job
from inferbench_lib.studies import voice

PARAMS = ROOT / "params"


def plan(profile: str, names: Sequence[str] = (), params: Path = PARAMS, timeout_s: int = 1800) -> Job:
    """Read and validate every parameter file of a profile; without names, of all notebooks of a report.

    Raises ConfigError before anything runs.
    """
    names = names or studies.in_report()
    folder = params / profile
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in params.iterdir() if path.is_dir()))
        raise ConfigError(f"profile: expected one of {known}, got {profile}")
    parameters = {}
    for name in names:
        studies.params(name)  # named before its file is looked for
        path = folder / f"{name}.yaml"
        studies.load(path)
        parameters[name] = config.read_params(path)
    command = "make calibrate" if list(names) == ["calibration"] else "make report"
    command += f" PROFILE={profile}"
    if command.startswith("make report") and tuple(names) != studies.in_report():
        command += f' ARGS="{" ".join(f"--notebook {name}" for name in names)}"'
    return Job(profile=profile, parameters=parameters, command=command, voice=voice, timeout_s=timeout_s)
