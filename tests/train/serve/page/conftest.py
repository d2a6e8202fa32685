"""Chromium, and a film that it plays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.train.media import ffmpeg
from tests.train.serve.conftest import Serve, Server
from tests.train.serve.page.visit import TOKEN, Visit, launch, visit


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Its event loop runs in this thread: it has to be gone before tests elsewhere begin.
    with sync_playwright() as playwright:
        one = launch(playwright)
        yield one
        one.close()


@pytest.fixture(scope="session")
def playable(talk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The talk in a form that Chromium plays."""
    path = tmp_path_factory.mktemp("playable") / "talk.webm"
    ffmpeg("-i", talk, "-c:v", "libvpx", "-b:v", "600k", "-c:a", "libopus", path)
    return path


@pytest.fixture(scope="session")
def strict(serve: Serve) -> Server:
    """A server with a token, a short queue and small uploads."""
    options = ("--queue", "1", "--max-upload-mib", "4", "--max-minutes", "1")
    return serve(*options, FV2ES_TOKEN=TOKEN)


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Visit]:
    """The page, which asks nowhere else and meets no error."""
    with visit(browser, server.url) as one:
        yield one
