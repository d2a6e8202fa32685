"""A visit to the page in a browser, and what must not happen during any.

Owns opening pages and watching them. Leaves what is looked at to the tests.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    FilePayload,
    Locator,
    Page,
    Playwright,
    expect,
)

PATIENCE_MS = 60_000
TOKEN = "a token for tests"
MARKUP = "<img src=x onerror=alert(1)>"
WORDS = "1\n00:00:00,000 --> 00:00:03,000\nI am so happy\n\n2\n00:00:03,500 --> 00:00:07,000\nno\n"
VIEW = "left:224:0"
_COLOURS: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = (
    "--no-sandbox",
    # A camera and a microphone that are none, and nobody who has to admit them.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
_REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
_UNANSWERED = "Failed to load resource: net::ERR_CONNECTION_REFUSED"


def launch(playwright: Playwright) -> Browser:
    """Chromium: the one that FV2ES_CHROMIUM names, one on the path, or Playwright's own."""
    named = os.environ.get("FV2ES_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    return playwright.chromium.launch(executable_path=found, args=list(_ARGUMENTS))


@dataclass
class Visit:
    """One open page.

    Attributes:
        page: the page.
        origin: of the server; nothing may go anywhere else.
        refusals: statuses of answers that the test expects, 0 for none; any other is a fault.
        faults: what went wrong: requests elsewhere, errors, violations of the policy.
    """

    page: Page
    origin: str
    refusals: tuple[int, ...] = ()
    faults: list[str] = field(default_factory=list)

    def at(self, name: str) -> Locator:
        return self.page.get_by_test_id(name)

    def choose(self, file: Path | FilePayload) -> None:
        """Give the page a file, and wait until it has tried to play it."""
        expect(self.at("start")).to_be_visible(timeout=PATIENCE_MS)
        self.at("file").set_input_files(file)
        expect(self.at("send")).to_be_enabled(timeout=PATIENCE_MS)

    def send(self) -> str:
        """Press the button; gives the id of the job."""
        with self.page.expect_response(lambda one: "/v1/predict" in one.url) as answer:
            self.at("send").click()
        return str(answer.value.json()["id"])

    def done(self) -> None:
        """Wait until the whole video is told."""
        expect(self.at("headline")).to_be_visible(timeout=PATIENCE_MS)
        expect(self.at("progress")).to_be_hidden()

    def numbers(self) -> None:
        """Switch the model's numbers on."""
        self.at("numbers").check()

    def row(self, number: int) -> Locator:
        return self.at("row").nth(number)

    def barriers(self) -> list[str]:
        """What axe-core finds that is serious or critical, in light and in dark colours."""
        found = []
        for colours in _COLOURS:
            self.page.emulate_media(color_scheme=colours)
            for one in Axe().run(self.page).response["violations"]:
                if one["impact"] in ("serious", "critical"):
                    places = [node["html"][:200] for node in one["nodes"]]
                    found.append(f"{colours}: {one['id']}: {one['help']}: {places}")
        return found

    def film(self, what: str) -> Any:
        """A property of the video element."""
        return self.at("film").evaluate(f"film => film.{what}")


@contextmanager
def visit(
    browser: Browser,
    origin: str,
    *,
    refusals: tuple[int, ...] = (),
    width: int = 1280,
    dark: bool = False,
    path: str = "",
) -> Iterator[Visit]:
    """Open the page, or a path of it, and see at the end that nothing went wrong."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    one = Visit(context.new_page(), origin, refusals)
    _watch(one)
    one.page.goto(origin + path)
    try:
        yield one
    finally:
        context.close()
    assert one.faults == []


def _watch(one: Visit) -> None:
    def asked(request: Any) -> None:
        own = (f"{one.origin}/", "blob:", "data:")
        if request.url != one.origin and not request.url.startswith(own):
            one.faults.append(f"asked elsewhere: {request.url}")

    def said(message: ConsoleMessage) -> None:
        refused = _REFUSED.match(message.text)
        status = int(refused[1]) if refused else 0
        if (refused or message.text == _UNANSWERED) and status in one.refusals:
            return
        if message.type in ("error", "warning"):
            one.faults.append(f"{message.type}: {message.text}")

    one.page.on("request", asked)
    one.page.on("console", said)
    one.page.on("pageerror", lambda error: one.faults.append(f"page error: {error}"))
    one.page.on("dialog", lambda dialog: one.faults.append(f"dialog: {dialog.message}"))


def ask(one: Visit, video: Path | FilePayload, words: str = WORDS, spans: str = "") -> str:
    """Choose a video, give words and a view, and wait for the result; gives the job's id."""
    one.choose(video)
    one.at("transcript").fill(words)
    one.page.get_by_text("Views and spans").click()
    one.at("views").fill(VIEW)
    one.at("spans").fill(spans)
    job = one.send()
    one.done()
    return job
