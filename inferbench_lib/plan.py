"""Plan a report: which notebooks to execute with which parameters, all of them checked before anything is measured."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from inferbench_lib import config, store, studies
from inferbench_lib.errors import ConfigError
from inferbench_lib.report.runner import ROOT, Job
from inferbench_lib.studies import voice

PARAMS = ROOT / "params"


def plan(profile: str, names: Sequence[str] = (), params: Path = PARAMS, timeout_s: int = 1800) -> Job:
    """Plan the named notebooks, by default those of a report, with the parameters of a profile.

    Raises ConfigError for an unknown name or an unusable parameter.
    """
    names = names or studies.in_report()
    folder = params / profile
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in params.iterdir() if path.is_dir()))
        raise ConfigError(f"profile: expected one of {known}, got {profile}")
    parameters = {}
    for name in names:
        studies.params(name)  # an unknown name is refused before its file is read
        path = folder / f"{name}.yaml"
        studies.load(path)
        parameters[name] = config.read_params(path)
    command = f"make report PROFILE={profile}"
    if list(names) == ["calibration"]:
        command = f"make calibrate PROFILE={profile}"
    elif tuple(names) != studies.in_report():
        command += f' ARGS="{" ".join(f"--notebook {name}" for name in names)}"'
    return Job(profile=profile, parameters=parameters, command=command, voice=voice, front=front(), timeout_s=timeout_s)


def plan_comparison(base: str, heads: Sequence[str]) -> Job:
    """Plan the comparison of stored runs, by default of the newest two.

    Read the runs first: raises ConfigError or StoreError where one cannot be used, so that no report is begun.
    """
    from inferbench_lib.studies.compare.measure import read_all, sources
    from inferbench_lib.studies.compare.params import Params

    cfg = studies.build("compare", {"base": base or None, "heads": list(heads)}, source="compare")
    assert isinstance(cfg, Params)
    names = sources(cfg)
    if not names:
        raise ConfigError(
            "compare: expected two stored runs of one profile, got none; name them: BASE=<run> HEAD=<run>"
        )
    read_all(names)
    first, *others = map(_absolute, names)
    listed = shlex.quote(" ".join(Path(name).name for name in others))
    return Job(
        profile="compare",
        parameters={"compare": {"base": first, "heads": others}},
        command=f"make compare BASE={Path(first).name} HEAD={listed}",
        voice=voice,
    )


def front() -> str:
    """Return the notebook whose page opens a run: the one of a report that leaves no record."""
    measured = studies.measured()
    return next((name for name in studies.in_report() if name not in measured), "")


def _absolute(source: str) -> str:
    """Return a run's id unchanged, and a path so that it is valid in the notebooks' folder too."""
    return source if (store.reports_folder() / source).exists() else str(Path(source).expanduser().resolve())
