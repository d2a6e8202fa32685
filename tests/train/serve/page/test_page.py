"""The page of `fv2es serve` in a browser, with a real server behind it: what it shows."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FilePayload, expect

from fv2es_prep.utils.emotions import emotion_name
from fv2es_train.predict.subtitles import parse_transcript
from tests.planted import planted_pictures
from tests.train.media import ffmpeg, film_of
from tests.train.serve.conftest import Serve, Server
from tests.train.serve.page.visit import MARKUP, Visit, ask, visit

pytestmark = pytest.mark.browser


def job_of(server: Server, id_: str) -> dict[str, Any]:
    answer: dict[str, Any] = server.get(f"/v1/jobs/{id_}").json()
    return answer


def coded(code: str) -> str:
    return code if emotion_name(code) == code else f"{emotion_name(code)} {code}"


def said(one: dict[str, Any], how: Callable[[str], str] = coded) -> str:
    """The decision of an utterance, with codes beside the names or without."""
    return ", ".join(map(how, one["decided"])) or f"not decided ({emotion_name(one['top'])}?)"


def chance(value: float) -> str:
    if value > 0.99:
        return "over 99 %"
    # Halves are rounded up, as JavaScript does.
    return "under 1 %" if value < 0.01 else f"{int(100 * value + 0.5)} %"


def signed(value: float) -> str:
    text = f"{value:+.2f}".replace("-", "−")
    return "0.00" if text.endswith("0.00") and len(text) == 5 else text


def assert_numbers(one: Visit, found: dict[str, Any]) -> None:
    """The chosen utterance's panel says what the API says."""
    for name, value in found["probability"].items():
        expect(one.at(f"p-{name}")).to_contain_text(f"{value:.3f}")
        row = one.at(f"terms-{name}")
        for letter, term in found["contribution"][name].items():
            expect(row.locator(f"[data-letter={letter}]")).to_have_text(signed(term))
        total = sum(found["contribution"][name].values())
        expect(row.locator(".sum-cell")).to_have_text(signed(total))


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_has_no_barrier(
    browser: Browser, server: Server, playable: Path, width: int
) -> None:
    with visit(browser, server.url, width=width) as page:
        expect(page.at("start")).to_be_visible()
        page.page.get_by_text("Views and spans").click()
        assert page.barriers() == []
        page.page.get_by_text("Views and spans").click()
        ask(page, playable)
        page.row(0).click()
        assert page.barriers() == []


def test_a_video_is_sent_and_its_numbers_are_those_of_the_api(
    page: Visit, server: Server, playable: Path
) -> None:
    expect(page.at("run")).to_contain_text("tav")
    expect(page.at("recogniser")).to_contain_text("without a transcript, words are not used")
    expect(page.at("limits")).to_contain_text("up to 2 GiB and 60 min")
    job = job_of(server, ask(page, playable))
    expect(page.at("row")).to_have_count(len(job["utterances"]))
    page.numbers()
    for number, found in enumerate(job["utterances"]):
        page.row(number).click()
        expect(page.at("words")).to_have_value(found["text"])
        expect(page.at("faces")).to_contain_text(
            f"{found['faces_found']} of {found['faces_seen']} picture"
        )
        expect(page.at("detail").locator("img")).to_have_count(len(found["faces"]))
        expect(page.at("verdict")).to_have_text(said(found))
        assert_numbers(page, found)
    for name, mean in job["summary"]["probability"].items():
        share = f"{100 * job['summary']['share'][name]:.1f} %"
        expect(page.at(f"mean-{name}")).to_have_text(f"{mean:.3f}")
        expect(page.at(f"share-{name}")).to_have_text(share)


def test_ratings_stand_below_the_classes_with_their_scale(
    browser: Browser, serve: Serve, rated_run: Path, playable: Path
) -> None:
    server = serve(run=rated_run)
    with visit(browser, server.url) as page:
        job = job_of(server, ask(page, playable))
        page.row(0).click()
        low = server.get("/v1/about").json()["ratings"][0]["low"]
        for name, value in job["utterances"][0]["ratings"].items():
            cell = page.at("detail").get_by_test_id(f"rating-{name}")
            expect(cell).to_have_text(f"{value:.2f}")
        expect(page.at("detail").get_by_test_id("ratings")).to_contain_text(f"{low:g} (negative)")
        expect(page.at("detail").get_by_test_id("ratings")).to_contain_text("not calibrated")
        mean = page.page.locator("#summary").get_by_test_id("rating-valence")
        expect(mean).to_have_text(f"{job['summary']['ratings']['valence']:.2f}")


def test_video_time_line_and_list_go_in_step(page: Visit, server: Server, playable: Path) -> None:
    job = job_of(server, ask(page, playable))
    second, slider, film = job["utterances"][1], page.at("slider"), page.at("film")
    page.row(1).click()
    expect(page.at("over")).to_have_attribute("data-drawn", second["id"])
    assert page.film("currentTime") == pytest.approx(second["start_s"], abs=0.05)
    expect(page.row(1)).to_have_class("row on")
    spoken = re.compile(re.escape(f"utterance 2: {said(second, emotion_name)}."))
    expect(slider).to_have_attribute("aria-valuetext", spoken)
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", f"{second['start_s'] + 1:.2f}")
    expect(page.at("tip")).to_contain_text(said(second, emotion_name))
    slider.press("ArrowUp")
    expect(page.row(0)).to_have_attribute("aria-selected", "true")
    width = (slider.bounding_box() or {})["width"]
    slider.click(position={"x": width / 4, "y": 20})
    assert page.film("currentTime") == pytest.approx(job["length_s"] / 4, abs=0.1)
    name, value = next(iter(job["utterances"][0]["probability"].items()))
    slider.hover(position={"x": width / 4, "y": 10})
    expect(page.at("tip")).to_contain_text(f"{emotion_name(name)} {chance(value)}")
    film.evaluate("film => { film.muted = true; return film.play(); }")
    expect(page.row(1)).to_have_attribute("aria-selected", "true", timeout=10_000)
    assert page.film("currentTime") >= second["start_s"]


def test_corrected_words_are_scored_again_and_what_changed_is_seen(
    page: Visit, server: Server, playable: Path
) -> None:
    old = job_of(server, ask(page, playable))
    page.numbers()
    page.row(0).click()
    page.at("words").fill(f"I hate this {MARKUP}")
    expect(page.at("words-state")).to_have_text("edited, not scored yet")
    expect(page.row(0)).to_contain_text("edited")
    page.row(1).click()
    page.at("unknown").check()
    expect(page.at("again-text")).to_have_text("Other words in 2 utterances.")
    with page.page.expect_response(lambda one: one.url.endswith("/words")) as answer:
        page.at("rescore").click()
    expect(page.at("changes")).to_contain_text("Scored again: 2 utterances.")
    new = job_of(server, answer.value.json()["id"])
    assert [one["text"] for one in new["utterances"]] == [f"I hate this {MARKUP}", None]
    expect(page.at("again")).to_be_hidden()
    page.row(0).click()
    expect(page.at("words")).to_have_value(f"I hate this {MARKUP}")
    assert_numbers(page, new["utterances"][0])
    for name, value in old["utterances"][0]["probability"].items():
        expect(page.at(f"p-{name}")).to_contain_text(f"was {value:.3f}")
    page.row(1).click()
    expect(page.at("missing")).to_contain_text("Words not used")
    assert_numbers(page, new["utterances"][1])
    before, after = said(old["utterances"][1]), said(new["utterances"][1])
    shown = after if before == after else f"{said(old['utterances'][1], emotion_name)} → {after}"
    expect(page.row(1).locator(".row-decided")).to_have_text(shown)


def test_results_are_saved_as_json_csv_and_srt(page: Visit, server: Server, playable: Path) -> None:
    found = job_of(server, ask(page, playable))["utterances"]
    texts = {}
    for kind in ("json", "csv", "srt"):
        with page.page.expect_download() as saved:
            page.at(f"download-{kind}").click()
        assert saved.value.suggested_filename == f"talk-fv2es.{kind}"
        texts[kind] = Path(saved.value.path()).read_text(encoding="utf-8")
    whole = json.loads(texts["json"])["videos"][0]["utterances"]
    assert [one["probability"] for one in whole] == [one["probability"] for one in found]
    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert [row["text"] for row in rows] == [one["text"] for one in found]
    cues = parse_transcript(texts["srt"]).spans
    assert [(cue.start_s, cue.end_s) for cue in cues] == [(0, 3), (3.5, 7)]


def test_what_the_browser_cannot_play_is_shown_as_a_film_of_the_server(
    page: Visit, files: tuple[Path, Path]
) -> None:
    page.choose(files[0])
    expect(page.at("chosen-note")).to_contain_text("cannot play it")
    page.send()
    page.done()
    expect(page.at("film-note")).to_be_hidden()
    expect(page.at("film")).to_have_js_property("videoWidth", 540)
    assert "preview.webm" in page.film("currentSrc")
    page.at("film").evaluate("film => { film.muted = true; return film.play(); }")
    page.page.wait_for_timeout(600)
    assert page.film("currentTime") > 0.3


def test_camera_and_microphone_are_recorded_and_scored(page: Visit) -> None:
    page.at("record-open").click()
    expect(page.at("record-state")).to_contain_text("Nothing is recorded yet")
    page.at("record-start").click()
    expect(page.at("record-time")).to_have_text("0:02", timeout=10_000)
    page.at("record-stop").click()
    expect(page.at("chosen-name")).to_contain_text(".webm")
    expect(page.at("send")).to_be_enabled()
    page.send()
    page.done()
    expect(page.at("film")).to_have_js_property("paused", True)
    assert 1.5 < page.film("duration") < 6
    expect(page.at("row")).not_to_have_count(0)
    expect(page.at("recorder")).to_be_hidden()


def test_markup_in_names_and_words_stays_text(page: Visit, server: Server, playable: Path) -> None:
    name = f'{MARKUP} "a".webm'
    video: FilePayload = {"name": name, "mimeType": "video/webm", "buffer": playable.read_bytes()}
    spans = [{"start_s": 0, "end_s": 2, "text": f"I am {MARKUP}"}]
    job = job_of(server, ask(page, video, "", json.dumps(spans)))
    assert job["video"] == "_img src=x onerror=alert(1)_ _a_.webm"
    expect(page.at("chosen-name")).to_have_text(name)
    expect(page.at("video-name")).to_have_text(job["video"])
    expect(page.row(0)).to_contain_text(MARKUP)
    page.row(0).click()
    expect(page.at("words")).to_have_value(f"I am {MARKUP}")
    assert page.page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_screen_needs_no_scrolling_sideways(
    browser: Browser, server: Server, playable: Path, dark: bool
) -> None:
    with visit(browser, server.url, width=390, dark=dark) as page:
        wide = "() => document.documentElement.scrollWidth"
        expect(page.at("start")).to_be_visible()
        assert page.page.evaluate(wide) <= 390
        ask(page, playable)
        page.row(1).click()
        assert page.page.evaluate(wide) <= 390


def test_the_page_says_what_the_run_knows_and_sums_up_each_person(
    page: Visit, server: Server, playable: Path
) -> None:
    about = server.get("/v1/about").json()
    expect(page.at("trained")).to_contain_text(about["trained_on"][:60])
    expect(page.at("not-for")).to_contain_text("decisions about people")
    page.choose(playable)
    page.page.get_by_text("Views and spans").click()
    page.at("views").fill("left:224:0 right:224:1")
    job = job_of(server, page.send())
    page.done()
    speakers = job_of(server, job["id"])["summary"]["speakers"]
    assert len(speakers) == 2
    expect(page.at("headline")).to_have_text("2 people, each on their own")
    page.numbers()
    rows = page.at("speakers").locator("tr")
    for number, one in enumerate(speakers):
        expect(rows.nth(number)).to_contain_text(one["speaker"])
        expect(rows.nth(number)).to_contain_text(said(one))
        page.page.get_by_text(f"Emotions of the person on the {one['speaker']}").click()
        for name, mean in one["probability"].items():
            expect(page.at(f"mean-{name}").nth(number)).to_have_text(f"{mean:.3f}")


def test_the_faces_that_are_chosen_are_scored(
    browser: Browser, serve: Serve, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    """The speaker is on the right; on the left is something larger, taken for a face."""
    how = ("-c:v", "libvpx", "-b:v", "20M", "-qmin", "0", "-qmax", "4")
    clip = film_of(tmp_path / "planted.webm", planted_pictures(6)[0], 2, *how)
    server = serve(run=trained("v"))
    for faces in ("track", "largest", "all"):
        with visit(browser, server.url) as page:
            page.choose(clip)
            page.page.locator(f"input[name=faces][value={faces}]").check()
            page.page.get_by_text("Views and spans").click()
            page.at("spans").fill('[{"start_s": 0, "end_s": 3}]')
            found = job_of(server, page.send())
            page.done()
            found = job_of(server, found["id"])["utterances"]
            if faces == "all":
                assert len(found) >= 2
                expect(page.at("speakers").locator("tr")).to_have_count(len(found))
            else:
                (one,) = found
                assert any(place["left"] < 0.5 for place in one["places"]) == (faces == "largest")


def test_a_title_card_is_not_decided_and_has_no_box(
    browser: Browser, serve: Serve, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    server = serve(run=trained("v"))
    clip = tmp_path / "title.webm"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=d=3:s=320x240:r=10", "-c:v", "libvpx", clip)
    for width in (1280, 390):
        with visit(browser, server.url, width=width) as page:
            page.choose(clip)
            page.page.get_by_text("Views and spans").click()
            page.at("spans").fill('[{"start_s": 0, "end_s": 3}]')
            page.send()
            page.done()
            expect(page.at("verdict")).to_have_text("not decided")
            expect(page.at("sentence")).to_have_text("Not decided.")
            expect(page.at("undecided")).to_contain_text("The model can use face")
            expect(page.at("undecided")).to_contain_text("in which the face is large")
            expect(page.at("headline")).to_contain_text("Not decided")
            expect(page.at("over")).not_to_have_attribute("data-drawn", "0001")
            wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            assert not page.page.evaluate(wide)
