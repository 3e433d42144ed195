"""What several test files share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_helpers import Opener, sample_page
from playwright.sync_api import Browser, Page, sync_playwright
from setup_browser import MISSING, find_browser, is_ci
from tiny import TinyReports

from inferbench_lib import store

# A shell starts background jobs with Ctrl-C ignored, and so would be every process that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(autouse=True)
def own_run_folder() -> Iterator[None]:
    """A run that a test begins as in JupyterLab is not the current one of the next test."""
    before = os.environ.get(store.RUN_FOLDER)
    yield
    os.environ.pop(store.RUN_FOLDER, None)
    os.environ.update({store.RUN_FOLDER: before} if before else {})


@pytest.fixture(scope="session")
def browser_path() -> str:
    """A Chromium that starts; without one a named skip, and a failure where CI=true."""
    path = find_browser()
    if path is None:
        (pytest.fail if is_ci() else pytest.skip)(MISSING)
    return path


@pytest.fixture(scope="module")
def browser(browser_path: str) -> Iterator[Browser]:
    """A running Chromium.

    One a module, not one a session: while Playwright is open its event loop counts as running in this thread,
    and papermill, run by tests in between, would take another path than it does for users.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page with the network off."""
    context = browser.new_context(offline=True)
    yield context.new_page()
    context.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    """Opens files in contexts of their own, with the network off, and closes them."""
    opener = Opener(browser)
    yield opener
    opener.close()


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a realistic notebook, made once."""
    return sample_page(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def tiny_reports(tmp_path_factory: pytest.TempPathFactory) -> TinyReports:
    """Tiny reports of every profile, made by the real runner when they are first asked for."""
    return TinyReports(tmp_path_factory.mktemp("tiny"))
