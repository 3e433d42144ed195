"""The picture in the README: `python tests/picture.py` takes it of the newest complete run of the reference workload.

It is the top of the page of `cpu_multiprocess`, as a browser with the network off shows it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from setup_browser import MISSING, find_browser

REPORTS = Path(__file__).resolve().parents[1] / "reports"
PAGE, PROFILE = "cpu_multiprocess.html", "standard"
WIDTH, HEIGHT = 1180, 1560


def newest_page(reports: Path) -> Path | None:
    """The page in the newest run of the profile that is complete and of real devices; None where there is none."""
    found = []
    for path in reports.glob("*/manifest.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        is_whole = manifest["status"] == "complete" and not manifest["simulated"]
        if is_whole and manifest["profile"] == PROFILE and (path.parent / PAGE).exists():
            found.append((manifest["started_at"], path.parent / PAGE))
    return max(found, default=("", None))[1]


def take(page: Path, picture: Path, browser: str) -> None:
    """Save the top of a page."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        context = running.new_context(
            viewport={"width": WIDTH, "height": HEIGHT}, offline=True, color_scheme="light", reduced_motion="reduce"
        )
        shown = context.new_page()
        shown.goto(page.as_uri())
        shown.screenshot(path=picture)
        with Image.open(picture) as whole:
            few_colours = whole.quantize(64)  # a third of the bytes, and nothing is seen of it
        few_colours.save(picture, optimize=True)
        running.close()


def main() -> int:
    """Take the picture; 1 and what is missing where it cannot be taken."""
    page, browser = newest_page(REPORTS), find_browser()
    if page is None:
        print(f"picture: expected a complete run of {PROFILE}, got none; make report", file=sys.stderr)
        return 1
    if browser is None:
        print(f"picture: {MISSING}", file=sys.stderr)
        return 1
    take(page, REPORTS / "example.png", browser)
    print(f"picture: reports/example.png, of run {page.parent.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
