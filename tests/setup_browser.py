"""Find the Chromium that the page tests drive, or install one: `python tests/setup_browser.py`.

In order: one on PATH, Playwright's own, Playwright's download, the distribution's package where it may be installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ANSWER_TIMEOUT_S = 60
INSTALL_TIMEOUT_S = 600
OUTPUT_SHOWN = 1000
MISSING = (
    "No Chromium: none on PATH, Playwright could not download one, and the distribution's package could not be "
    "installed. Install Chromium or Chrome; until then the tests that open pages in a browser are skipped "
    "(under CI=true they fail)."
)


def is_ci() -> bool:
    """Whether a missing browser is a failure rather than a skip."""
    return os.environ.get("CI") == "true"


def starts(path: str) -> bool:
    """Whether this browser answers; a wrapper without its package, or without its libraries, does not."""
    return run([path, "--version"], ANSWER_TIMEOUT_S) is None


def run(command: Sequence[str], timeout_s: float) -> str | None:
    """None when the command succeeded in time, else the end of its output, or why there is none."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else f"exit code {done.returncode}\n{done.stdout[-OUTPUT_SHOWN:]}".strip()


def playwrights_own() -> str:
    """Where Playwright keeps its download, whether it is there or not."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def find_browser() -> str | None:
    """The path of a browser that starts, or None."""
    on_path = [found for found in map(shutil.which, NAMES) if found]
    return next((path for path in [*on_path, playwrights_own()] if Path(path).exists() and starts(path)), None)


def installers() -> list[tuple[str, list[list[str]]]]:
    """What may be tried on this machine: a name and its commands."""
    ways = [("Playwright's download", [[sys.executable, "-m", "playwright", "install", "chromium"]])]
    sudo = [] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") and (not sudo or shutil.which("sudo")):
        apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
        ways.append(("the distribution's package", [[*apt, "update"], [*apt, "install", "--yes", "chromium"]]))
    return ways


def main() -> int:
    """Print the browser's path; exit 1 without one where CI=true."""
    path = find_browser()
    for name, commands in installers():
        if path is not None:
            break
        print(f"browser: trying {name}", flush=True)
        failure = next(filter(None, (run(command, INSTALL_TIMEOUT_S) for command in commands)), None)
        if failure:
            print(f"browser: {name} failed: {failure}", flush=True)
        else:
            path = find_browser()
    if path is None:
        print(f"warning: {MISSING}", file=sys.stderr)
        return 1 if is_ci() else 0
    print(f"browser: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
