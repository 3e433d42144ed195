"""The command line that the Makefile calls: `python -m inferbench_lib report|calibrate|compare|index|lab`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from inferbench_lib.errors import ConfigError, InferbenchError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0 done, 1 incomplete, 2 unusable parameters, 130 interrupted, 143 terminated."""
    parser = _parser()
    options, more = parser.parse_known_args(arguments)
    if more and options.run is not _lab:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    options.more = more
    try:
        return int(options.run(options))
    except ConfigError as error:
        print(f"inferbench: {error}", file=sys.stderr)
        return 2
    except InferbenchError as error:
        print(f"inferbench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("inferbench: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="inferbench", description="What does inference cost on this machine, and why?"
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    report = commands.add_parser("report", help="measure, and leave reports/index.html")
    report.add_argument("--profile", default="standard", help="a folder of params/ (default: standard)")
    report.add_argument("--notebook", action="append", dest="notebooks", help="only this one; may be repeated")
    report.add_argument("--timeout-s", type=_seconds, default=1800, help="limit for one cell of a notebook")
    report.set_defaults(run=_report)
    calibrate = commands.add_parser("calibrate", help="measure the harness itself")
    calibrate.add_argument("--profile", default="standard")
    calibrate.set_defaults(run=_calibrate)
    compare = commands.add_parser("compare", help="hold stored runs against one: what changed, and how sure is that?")
    compare.add_argument("--base", default="", help="a run's id, its folder or one of its pages; none: the newest two")
    compare.add_argument("--head", default="", help="what is held against it; several with spaces between")
    compare.set_defaults(run=_compare)
    index = commands.add_parser("index", help="rebuild reports/index.html from the runs' manifests")
    index.set_defaults(run=_index)
    lab = commands.add_parser("lab", help="open the notebooks in JupyterLab, whose own arguments it takes too")
    lab.set_defaults(run=_lab)
    return parser


def _seconds(text: str) -> int:
    """Whole seconds from 1 on; argparse says what else was given."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected whole seconds from 1 on, got {text}")
    return int(text)


def _report(options: argparse.Namespace) -> int:
    from inferbench_lib.plan import plan
    from inferbench_lib.report.runner import run_report

    return run_report(plan(options.profile, options.notebooks or (), timeout_s=options.timeout_s))


def _calibrate(options: argparse.Namespace) -> int:
    from inferbench_lib.plan import plan
    from inferbench_lib.report.runner import run_report

    return run_report(plan(options.profile, ["calibration"]))


def _compare(options: argparse.Namespace) -> int:
    """Read the runs first, so that a wrong name leaves no report behind."""
    from inferbench_lib import studies
    from inferbench_lib.report.runner import Job, run_report
    from inferbench_lib.studies import voice
    from inferbench_lib.studies.compare.measure import read_all, sources
    from inferbench_lib.studies.compare.params import Params

    parameters = {"base": options.base or None, "heads": shlex.split(options.head)}
    cfg = studies.build("compare", parameters, source="compare")
    assert isinstance(cfg, Params)
    names = sources(cfg)
    if not names:
        raise ConfigError(
            "compare: expected two stored runs of one profile, got none; name them: BASE=<run> HEAD=<run>"
        )
    read_all(names)
    base, *heads = map(_absolute, names)
    command = f"make compare BASE={Path(base).name} HEAD={shlex.quote(' '.join(Path(head).name for head in heads))}"
    return run_report(
        Job(profile="compare", parameters={"compare": {"base": base, "heads": heads}}, command=command, voice=voice)
    )


def _absolute(source: str) -> str:
    """A run's id as it is; a path so that it holds in the notebooks' folder too."""
    from inferbench_lib.store import reports_folder

    return source if (reports_folder() / source).exists() else str(Path(source).expanduser().resolve())


def _index(_: argparse.Namespace) -> int:
    from inferbench_lib.report.index import write_index
    from inferbench_lib.store import reports_folder
    from inferbench_lib.studies import voice

    print(write_index(reports_folder(), voice.headlines()))
    return 0


def _lab(options: argparse.Namespace) -> int:
    """Replace this process by JupyterLab on its start page: on loopback, with its token, asking for no news."""
    notebooks = Path(__file__).parents[1] / "notebooks"
    settings = Path(__file__).parent / "lab"  # Markdown is shown rather than edited, and no news are fetched
    arguments = [
        f"--notebook-dir={notebooks.parent}",
        "--ServerApp.ip=127.0.0.1",
        f"--LabApp.default_url=/lab/tree/{notebooks.name}/START.md",
        f"--LabApp.app_settings_dir={settings}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        *options.more,
    ]
    os.environ.pop("JUPYTER_PATH", None)
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *arguments])


if __name__ == "__main__":
    raise SystemExit(main())
