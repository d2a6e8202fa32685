"""The page of `fv2es runs --live` in Chromium."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.command_line import address_of, start
from tests.train.serve.page.visit import visit

pytestmark = pytest.mark.browser


def test_the_page_follows_a_run_and_keeps_what_is_open(
    run: Path, tmp_path: Path, browser: Browser
) -> None:
    place = tmp_path / "runs/a"
    place.mkdir(parents=True)
    for path in (*run.glob("*.json*"), run / "config.toml"):
        shutil.copy(path, place)
    history = place / "history.jsonl"
    lines = history.read_text().splitlines(keepends=True)
    history.write_text(lines[0])
    running = start("runs", place.parent, "--live", "--port", "0")
    address = address_of(running)
    for width in (1280, 390):
        with visit(browser, address, width=width) as narrow:
            assert narrow.barriers() == []
            assert narrow.page.evaluate("document.documentElement.scrollWidth") <= width
    # The last request finds no server.
    with visit(browser, address, refusals=(0,)) as one:
        figures = one.page.locator("figure details").first
        figures.locator("summary").click()
        points = one.page.locator('[role="graphics-symbol"]')
        before = points.count()
        history.write_text("".join(lines[:3]))
        expect(points).not_to_have_count(before, timeout=60_000)
        expect(figures).to_have_attribute("open", "")
        running.send_signal(signal.SIGTERM)
        assert "server stopped" in running.wait().stderr
        expect(one.page.get_by_role("status")).to_contain_text("out of date", timeout=60_000)
