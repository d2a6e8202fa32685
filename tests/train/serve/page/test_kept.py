"""The page of `fv2es serve`: the sample, plain words, and results that outlive the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from fv2es_prep.utils.emotions import emotion_name
from tests.train.serve.conftest import Serve, Server
from tests.train.serve.page.visit import PATIENCE_MS, TOKEN, Visit, ask, visit

pytestmark = pytest.mark.browser

FILMS = """() => new Promise((done) => {
    const request = indexedDB.open("fv2es", 1);
    request.onsuccess = () => {
        const keys = request.result.transaction("films").objectStore("films").getAllKeys();
        keys.onsuccess = () => { request.result.close(); done(keys.result); };
    };
})"""


def rows(page: Visit) -> list[str]:
    expect(page.at("headline")).to_be_visible(timeout=PATIENCE_MS)
    return page.at("row").all_inner_texts()


def film_is_there(page: Visit) -> None:
    expect(page.at("film")).not_to_have_js_property("videoWidth", 0, timeout=PATIENCE_MS)


def test_sample_switch_reload_share_and_delete_by_keys(browser: Browser, server: Server) -> None:
    with visit(browser, server.url, refusals=(404,)) as page:
        expect(page.at("start")).to_be_visible()
        page.at("sample").press("Enter")
        first = rows(page)
        film_is_there(page)
        found = server.get(f"/v1/jobs/{page.page.url.partition('#job=')[2]}").json()
        assert len(first) == len(found["utterances"]) > 3
        page.page.locator(".skip").press("Enter")
        expect(page.page.locator("main")).to_be_focused()
        assert rows(page) == first and found["id"] in page.page.url
        page.row(0).click()
        expect(page.at("chances")).to_be_visible()
        expect(page.at("evidence-t")).to_contain_text(re.compile("for|against|none"))
        page.at("numbers").press("Space")
        expect(page.at("terms")).to_be_visible()
        expect(page.at("chances")).to_be_hidden()
        page.at("numbers").press("Space")
        page.page.reload()
        assert rows(page) == first
        film_is_there(page)
        page.at("share-open").press("Enter")
        expect(page.at("share-text")).to_contain_text("on this machine, for 60 min")
        link = page.at("link").input_value()
        assert link == page.page.url
        path = link.removeprefix(server.url)
        with visit(browser, server.url, path=path, refusals=(404,)) as other:
            assert rows(other) == first
            film_is_there(other)
            other.at("forget").press("Enter")
            expect(other.at("start")).to_be_visible()
            assert "#" not in other.page.url
        page.page.reload()
        expect(page.at("error")).to_contain_text("This result is no longer on the server.")
        expect(page.at("start")).to_be_visible()


def test_an_own_video_survives_a_reload_in_this_browser_until_it_is_deleted(
    browser: Browser, server: Server, playable: Path
) -> None:
    with visit(browser, server.url) as page:
        job = ask(page, playable)
        first = rows(page)
        page.page.reload()
        assert rows(page) == first
        film_is_there(page)
        assert page.film("currentSrc").startswith("blob:")
        with visit(browser, server.url, path=f"/#job={job}") as other:
            assert rows(other) == first
            expect(other.at("film-note")).to_contain_text("only the browser that sent it has it")
        page.row(0).click()
        page.at("words").fill("I hate this")
        page.at("rescore").click()
        expect(page.at("changes")).to_be_visible(timeout=PATIENCE_MS)
        again = page.at("row").first.inner_text()
        page.page.reload()
        rows(page)
        expect(page.at("row").first).to_contain_text("I hate this")
        assert again.splitlines()[0] == page.at("row").first.inner_text().splitlines()[0]
        film_is_there(page)
        ids = page.page.url.partition("#job=")[2].split(",")
        assert ids[0] == job and len(ids) == 2
        page.page.go_back()
        expect(page.at("start")).to_be_visible()
        page.page.go_forward()
        rows(page)
        assert page.page.evaluate(FILMS) == [job]
        page.at("forget").click()
        expect(page.at("start")).to_be_visible()
        assert page.page.evaluate(FILMS) == []
    assert [server.get(f"/v1/jobs/{one}").status_code for one in ids] == [404, 404]


def test_a_link_asks_for_the_token_and_then_shows_the_result(
    browser: Browser, strict: Server, playable: Path
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = strict.post(playable, headers=headers, spans='[{"start_s": 0, "end_s": 2}]')
    path = f"/#job={answer.json()['id']}"
    with visit(browser, strict.url, path=path, refusals=(401,)) as page:
        expect(page.at("gate")).to_contain_text("asks for a token")
        page.at("token").fill(TOKEN)
        page.at("token-send").click()
        assert len(rows(page)) == 1
        assert TOKEN not in page.page.url
        page.at("share-open").click()
        expect(page.at("share-text")).to_contain_text("asks for the token")


def test_sentences_and_percentages_are_those_of_the_api(
    browser: Browser, server: Server, playable: Path
) -> None:
    with visit(browser, server.url) as page:
        found = server.get(f"/v1/jobs/{ask(page, playable)}").json()["utterances"]
        for number, one in enumerate(found):
            page.row(number).click()
            name = emotion_name((one["decided"] or [one["top"]])[0])
            expect(page.at("sentence")).to_contain_text(name)
            if one["decided"]:
                start = re.compile("^(Probably|Perhaps) ")
                expect(page.at("sentence")).to_have_text(start)
                expect(page.at("undecided")).to_be_hidden()
            else:
                expect(page.at("undecided")).to_contain_text("What you can do")
            for code, value in one["probability"].items():
                shown = page.at(f"chance-{code}").inner_text()
                if 0.01 <= value <= 0.99:
                    assert abs(float(shown.removesuffix(" %")) - 100 * value) <= 0.5001
                else:
                    assert shown in ("under 1 %", "over 99 %")


def test_the_card_says_what_the_run_is(browser: Browser, server: Server) -> None:
    card = server.get("/v1/about").json()["card"]
    with visit(browser, server.url, width=390) as page:
        page.page.get_by_text("About this model").click()
        expect(page.at("trained")).to_contain_text("fv2es demo")
        for score in card["scores"]:
            text = f"{100 * score['value']:.1f} %"
            expect(page.at(f"score-{score['name']}")).to_contain_text(text)
        expect(page.at("not-for")).to_contain_text("decisions about people")
        assert page.barriers() == []
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_server_that_keeps_nothing_says_that_the_result_is_gone(
    browser: Browser, serve: Serve
) -> None:
    server = serve("--keep-minutes", "0.02")
    with visit(browser, server.url, refusals=(404,)) as page:
        page.at("sample").click(timeout=PATIENCE_MS)
        rows(page)
        page.page.wait_for_timeout(1500)
        page.page.reload()
        expect(page.at("error")).to_contain_text("This result is no longer on the server.")
