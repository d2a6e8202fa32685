"""Pictures of the page for the documentation, made where FV2ES_SCREENSHOTS names a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.train.serve.conftest import Serve
from tests.train.serve.page.visit import visit

pytestmark = pytest.mark.browser

SHOTS = "FV2ES_SCREENSHOTS"


@pytest.mark.skipif(SHOTS not in os.environ, reason=f"{SHOTS} names no folder")
def test_pictures_for_the_documentation(browser: Browser, serve: Serve) -> None:
    """With FV2ES_DEMO, the folder that `fv2es demo` made, its run is shown: it has learnt more."""
    out, demo = Path(os.environ[SHOTS]), os.environ.get("FV2ES_DEMO")
    options = ("--tokenizer", str(Path(demo, "albert"))) if demo else ()
    server = serve(*options, run=Path(demo, "run") if demo else None)
    with visit(browser, server.url) as page:
        expect(page.at("start")).to_be_visible()
        page.page.mouse.move(0, 0)
        page.page.screenshot(path=out / "serve-upload.png", full_page=True)
        page.at("sample").click()
        page.done()
        # Where this one begins both speak.
        page.row(1).click()
        # A film that stands has its controls over the picture.
        page.at("film").evaluate("film => { film.controls = false; }")
        expect(page.at("over")).to_have_attribute("data-drawn", "0001 0002")
        page.page.get_by_text("Emotions of the person on the left").click()
        page.page.mouse.move(0, 0)
        page.page.wait_for_timeout(500)
        page.page.screenshot(path=out / "serve.png", full_page=True)
        page.numbers()
        page.at("detail").screenshot(path=out / "serve-numbers.png")
