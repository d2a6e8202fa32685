"""The pages that commands write, in Chromium: no barrier, nothing beside a phone, print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.splits.manifest import write_split
from fv2es_prep.splits.recipes import Rule, build_splits
from pipelines.commands.shards import shards
from pipelines.commands.splits import splits
from tests.train.serve.page.visit import Visit, visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report of the demo corpus with a split, and the audit of the split."""
    place = tmp_path_factory.mktemp("pages")
    split, report, audit = (place / name for name in ("split.json", "report.html", "audit.html"))
    rule = Rule("random", allow_empty_class=True)
    write_split(next(build_splits(read_catalogue(prepared), rule)), split)
    for app, *words in (
        (shards, "report", prepared, "--split", split, "--out", report),
        (splits, "audit", prepared, split, "--html", audit),
    ):
        said = CliRunner().invoke(app, [*map(str, words)])
        assert said.exit_code == 0, said.output
    return {"report": report, "audit": audit}


@pytest.fixture(params=["report", "audit"])
def page(
    request: pytest.FixtureRequest, browser: Browser, pages: dict[str, Path]
) -> Iterator[Visit]:
    with visit(browser, pages[request.param].as_uri(), width=390) as one:
        yield one


def test_a_written_page_has_no_barrier_and_fits_a_phone(page: Visit) -> None:
    wide = "document.documentElement.scrollWidth"
    assert page.page.evaluate(wide) <= 390
    page.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.page.evaluate(wide) <= 390
    assert page.barriers() == []


def test_every_chart_has_a_name_and_each_mark_its_figures(page: Visit) -> None:
    charts = page.page.locator("figure > svg[role=img]")
    assert charts.count() >= 2
    for chart in charts.all():
        assert chart.get_attribute("aria-label")
        assert chart.locator("title").count() > 1


def test_a_written_page_prints(page: Visit) -> None:
    assert page.page.pdf(format="A4").startswith(b"%PDF")
    loaded = "all => all.every(one => one.complete && one.naturalWidth > 0)"
    assert page.page.locator("img").evaluate_all(loaded)


def test_the_words_of_a_chart_are_whole_and_apart(page: Visit) -> None:
    # A browser's font is wider than the one by which a chart was laid out.
    outside, touching = page.page.evaluate("""() => {
        const outside = [], touching = []
        for (const chart of document.querySelectorAll("figure > svg")) {
            const whole = chart.getBoundingClientRect()
            const words = [...chart.querySelectorAll("text")].filter(one => one.textContent)
            const places = words.map(one => one.getBoundingClientRect())
            places.forEach((at, n) => {
                if (at.left < whole.left - 1 || at.right > whole.right + 1)
                    outside.push(words[n].textContent)
            })
            const level = one => !(one.getAttribute("transform") || "").includes("rotate")
            words.forEach((one, n) => words.slice(n + 1).forEach((other, m) => {
                const [a, b] = [places[n], places[n + 1 + m]]
                const beside = Math.min(a.right, b.right) - Math.max(a.left, b.left)
                const above = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)
                if (level(one) && level(other) && beside > 0 && above > 2)
                    touching.push([one.textContent, other.textContent])
            }))
        }
        return [outside, touching]
    }""")
    assert outside == []
    assert touching == []
