"""The page of `fv2es browse` in Chromium."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from fv2es_prep.shards.review import read_review
from tests.command_line import address_of, start
from tests.train.serve.page.visit import Visit, visit

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def dataset(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(prepared, tmp_path_factory.mktemp("browse") / "shards"))


@pytest.fixture(scope="module")
def address(dataset: Path, demo: Path) -> Iterator[str]:
    running = start("browse", dataset, "--raw", demo, "--port", "0")
    yield address_of(running)
    running.send_signal(signal.SIGTERM)
    assert "server stopped" in running.wait().stderr


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Visit]:
    with visit(browser, address) as one:
        yield one


def test_filters_change_the_list_and_its_count(page: Visit) -> None:
    expect(page.at("row").first).to_contain_text("Ses01F_impro01_")
    before = page.at("total").inner_text()
    page.at("state").select_option("left_out")
    expect(page.at("total")).not_to_have_text(before)
    expect(page.at("row").first).to_have_class(re.compile("out"))
    page.page.get_by_role("button", name="Clear").click()
    expect(page.at("total")).to_have_text(before)
    page.at("search").fill("F001")
    expect(page.at("total")).to_have_text(re.compile(r"^\d utterances"))
    for row in page.at("row").all():
        expect(row).to_contain_text("F001")


def test_an_utterance_is_opened_heard_marked_and_left_by_keys_alone(
    page: Visit, dataset: Path
) -> None:
    expect(page.at("row").first).to_be_visible()
    keys = page.page.keyboard

    def tab_to(name: str, key: str = "Tab") -> None:
        for _ in range(40):
            keys.press(key)
            if page.at(name).evaluate("one => one === document.activeElement"):
                return
        raise AssertionError(f"Tab does not reach {name}")

    tab_to("state")
    before = page.at("total").inner_text()
    # The letter chooses what begins with it.
    keys.press("k")
    expect(page.at("total")).not_to_have_text(before)
    tab_to("list")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "Enter"):
        keys.press(key)
    expect(page.at("detail")).to_be_visible()
    name = page.page.get_by_role("heading", level=2).inner_text()
    expect(page.at("picture")).to_have_js_property("complete", True)
    assert page.at("picture").evaluate("one => one.naturalWidth") > 400
    expect(page.at("waveform")).to_have_attribute("aria-label", re.compile(r"Waveform of \d"))
    keys.press("p")
    expect(page.at("film")).to_have_js_property("paused", False)
    expect(page.at("film")).to_have_js_property("ended", True)
    assert page.at("film").evaluate("film => film.videoWidth") == 540
    seconds = page.at("sound").evaluate(
        "one => new Promise((done) => {"
        " one.onloadedmetadata = () => done(one.duration); one.load(); one.preload = 'auto'; })"
    )
    assert 0.5 < seconds < 30
    keys.press("4")
    expect(page.at("saved")).to_have_text("Saved in review.jsonl.")
    assert read_review(dataset / "review.jsonl")[name].marks == ("exclude",)
    keys.press("Escape")
    expect(page.at("detail")).to_be_hidden()
    expect(page.at("list")).to_be_focused()
    expect(page.page.locator("[role=option]", has_text=name)).to_contain_text("exclude")
    for link in ("rows-csv", "export"):
        tab_to(link, "Shift+Tab")
        with page.page.expect_download() as download:
            keys.press("Enter")
        assert name in Path(download.value.path()).read_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_has_no_barrier(browser: Browser, address: str, width: int) -> None:
    with visit(browser, address, width=width) as page:
        expect(page.at("row").first).to_be_visible()
        assert page.barriers() == []
        page.at("row").first.click()
        expect(page.at("waveform")).to_be_visible()
        assert page.barriers() == []
        page.at("close").click()
        page.at("grid").check()
        page.at("state").select_option("left_out")
        expect(page.at("row").first).to_have_class(re.compile("out"))
        assert page.barriers() == []
        page.at("row").first.click()
        expect(page.at("detail")).to_contain_text("Left out")
        assert page.barriers() == []
        # What axe would find.
        page.at("close").evaluate("one => { one.textContent = ''; }")
        assert any("button-name" in barrier for barrier in page.barriers())


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(page: Visit, width: int) -> None:
    page.page.set_viewport_size({"width": width, "height": 800})
    expect(page.at("row").first).to_be_visible()
    page.at("grid").check()
    expect(page.at("list")).to_have_class(re.compile("grid"))
    page.at("row").first.click()
    expect(page.at("detail")).to_be_visible()
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
