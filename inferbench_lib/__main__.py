"""Run the commands of the Makefile: `python -m inferbench_lib report|calibrate|compare|index|lab`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from inferbench_lib.errors import ConfigError, InferbenchError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0 done, 1 incomplete, 2 unusable parameters, 130 interrupted or 143 terminated."""
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
    report = commands.add_parser("report", help="measure this machine and write reports/index.html")
    report.add_argument("--profile", default="standard", help="a folder of params/ (default: standard)")
    report.add_argument("--notebook", action="append", dest="notebooks", help="run only this one; may be repeated")
    report.add_argument(
        "--timeout-s", type=_seconds, default=1800, help="time limit per notebook cell in seconds (default: 1800)"
    )
    report.set_defaults(run=_report)
    calibrate = commands.add_parser("calibrate", help="measure the accuracy of the measuring itself")
    calibrate.add_argument("--profile", default="standard")
    calibrate.set_defaults(run=_report, notebooks=["calibration"], timeout_s=report.get_default("timeout_s"))
    compare = commands.add_parser("compare", help="compare stored runs: what changed, and how certain is it")
    compare.add_argument("--base", default="", help="run id, run folder or page (default: compare the newest two)")
    compare.add_argument("--head", default="", help="the runs to compare with it, separated by spaces")
    compare.set_defaults(run=_compare)
    index = commands.add_parser("index", help="rebuild reports/index.html from the runs' manifests")
    index.set_defaults(run=_index)
    lab = commands.add_parser("lab", help="open the notebooks in JupyterLab; takes its arguments too")
    lab.set_defaults(run=_lab)
    return parser


def _seconds(text: str) -> int:
    """Parse whole seconds; argparse reports anything else."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of seconds, at least 1, got {text}")
    return int(text)


def _report(options: argparse.Namespace) -> int:
    from inferbench_lib.plan import plan
    from inferbench_lib.report.runner import run_report

    return run_report(plan(options.profile, options.notebooks or (), timeout_s=options.timeout_s))


def _compare(options: argparse.Namespace) -> int:
    from inferbench_lib.plan import plan_comparison
    from inferbench_lib.report.runner import run_report

    return run_report(plan_comparison(options.base, shlex.split(options.head)))


def _index(_: argparse.Namespace) -> int:
    from inferbench_lib.plan import front
    from inferbench_lib.report.index import write_index
    from inferbench_lib.store import reports_folder
    from inferbench_lib.studies import voice

    print(write_index(reports_folder(), voice.headlines(), front()))
    return 0


def _lab(options: argparse.Namespace) -> int:
    """Replace this process by JupyterLab, on loopback with its token, at its start page."""
    notebooks = Path(__file__).parents[1] / "notebooks"
    settings = Path(__file__).parent / "lab"  # shows Markdown rendered, fetches no news
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
