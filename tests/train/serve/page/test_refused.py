"""The page of `fv2es serve` where something is refused: token, limits, queue, no server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, FilePayload, expect

from tests.train.media import ffmpeg
from tests.train.serve.conftest import Serve, Server
from tests.train.serve.page.visit import PATIENCE_MS, TOKEN, Visit, ask, visit

pytestmark = pytest.mark.browser

LONG = json.dumps([{"start_s": k * 0.02, "end_s": k * 0.02 + 1} for k in range(300)])


def enter(page: Visit) -> None:
    page.at("token").fill(TOKEN)
    page.at("token-send").click()
    expect(page.at("start")).to_be_visible()


def test_a_file_that_is_no_video_is_told_in_the_servers_sentence(
    browser: Browser, server: Server
) -> None:
    with visit(browser, server.url, refusals=(415,)) as page:
        page.choose({"name": "v.mp4", "mimeType": "video/mp4", "buffer": b"%PDF-1.7\n" + bytes(99)})
        with page.page.expect_response(lambda one: "/v1/predict" in one.url) as answer:
            page.at("send").click()
        error = answer.value.json()["error"]
        expect(page.at("error")).to_contain_text(error["sentence"], ignore_case=True)
        expect(page.at("error")).to_contain_text(error["hint"], ignore_case=True)
        expect(page.at("start")).to_be_visible()


def test_a_token_is_asked_for_and_kept_in_the_tab(browser: Browser, strict: Server) -> None:
    with visit(browser, strict.url, refusals=(401,)) as page:
        expect(page.at("gate")).to_contain_text("asks for a token")
        page.at("token").fill("another token")
        page.at("token-send").click()
        expect(page.at("gate")).to_contain_text("does not accept this token")
        enter(page)
        page.page.reload()
        expect(page.at("start")).to_be_visible()
        stored = page.page.evaluate("() => [{...localStorage}, {...sessionStorage}]")
        assert stored == [{}, {"fv2es-token": TOKEN}]


def test_with_a_token_film_and_files_are_fetched_too(
    browser: Browser, strict: Server, talk: Path
) -> None:
    with visit(browser, strict.url, refusals=(401,)) as page:
        enter(page)
        ask(page, talk)
        expect(page.at("film")).to_have_js_property("videoWidth", 540)
        assert page.film("currentSrc").startswith("blob:")
        with page.page.expect_download() as saved:
            page.at("download-srt").click()
        assert Path(saved.value.path()).read_text(encoding="utf-8").startswith("1\n")
        page.at("forget").click()
        expect(page.at("start")).to_be_visible()
        assert not strict.left()


def test_too_much_is_refused_before_it_is_sent(
    browser: Browser, strict: Server, tmp_path: Path
) -> None:
    long = tmp_path / "long.webm"
    ffmpeg("-f", "lavfi", "-i", "color=s=64x64:r=5:d=70", "-c:v", "libvpx", long)
    with visit(browser, strict.url, refusals=(401,)) as page:
        enter(page)
        big: FilePayload = {"name": "big.mp4", "mimeType": "video/mp4", "buffer": bytes(5 << 20)}
        for file, sentence in ((big, "up to 4 MiB"), (long, "up to 60 s")):
            page.at("file").set_input_files(file)
            expect(page.at("chosen-note")).to_contain_text(sentence)
            expect(page.at("send")).to_be_disabled()


def test_a_full_queue_counts_down_and_a_waiting_video_can_be_stopped(
    browser: Browser, strict: Server, playable: Path
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    at_work = strict.post(playable, spans=LONG, headers=headers)
    with visit(browser, strict.url, refusals=(401, 429)) as page:
        enter(page)
        page.choose(playable)
        waits = page.send()
        expect(page.at("progress-title")).to_have_text("Waiting")
        expect(page.at("progress-text")).to_have_text("1 video before it")
        with visit(browser, strict.url, refusals=(401, 429)) as other:
            enter(other)
            other.choose(playable)
            other.at("send").click()
            expect(other.at("error")).to_contain_text("The queue is full")
            expect(other.at("try-again")).to_have_text(re.compile(r"Try again in \d+ s"))
            expect(other.at("try-again")).to_be_disabled()
            page.at("stop").click()
            expect(page.at("start")).to_be_visible()
            assert strict.get(f"/v1/jobs/{waits}", headers=headers).status_code == 404
            expect(other.at("try-again")).to_be_enabled(timeout=PATIENCE_MS)
            other.at("try-again").click()
            expect(other.at("progress-title")).to_have_text("Waiting")
            httpx.delete(f"{strict.url}{at_work.headers['location']}", headers=headers)
            other.done()


def test_a_server_that_is_gone_is_told(browser: Browser, serve: Serve) -> None:
    server = serve()
    with visit(browser, server.url, refusals=(0,)) as page:
        expect(page.at("start")).to_be_visible()
        page.choose({"name": "v.mp4", "mimeType": "video/mp4", "buffer": b"0" * 999})
        server.stop()
        page.at("send").click()
        expect(page.at("error")).to_contain_text("The connection ended")
        expect(page.at("try-again")).to_be_enabled()
