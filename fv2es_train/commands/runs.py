"""`fv2es runs`: the runs below a directory, as a table, a page, or a live page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.console import Json, Page, print_json, say
from fv2es_prep.utils.near import meant
from fv2es_prep.utils.pages import STYLE, page_html, write_page
from fv2es_prep.utils.tables import Format, Wide

_TITLE = "fv2es: runs"
_SHARED = Path(__file__).parents[1] / "serve" / "page"
# live.js replaces the content of <main>.
_HEAD = (
    '<link rel=stylesheet href="/page.css"><link rel=icon href="/page/icon.svg">'
    '<script type=module src="/page/live.js"></script>'
)


def runs(
    directory: Annotated[Path, typer.Argument(help="Directory that contains runs at any depth.")],
    metric: Annotated[
        str, typer.Option(help="Averaged metric to show.", metavar="METRIC")
    ] = "f1_binary",
    page: Page = None,
    live: Annotated[
        bool, typer.Option("--live", help="Serve the page, and keep it current while runs train.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port of --live; 0 for any.", min=0, max=65535)] = 7862,
    form: Format = "table",
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """List the runs below a directory: model, how far each is, its scores and its time."""
    from fv2es_train.evaluation.metrics import METRICS
    from fv2es_train.training.runs import format_runs, list_runs, runs_page

    if metric not in METRICS:
        raise UsageError(f"unknown metric {metric!r}", meant(metric, METRICS))
    found = list_runs(directory)
    if page is not None:
        write_page(page, _TITLE, runs_page(found, directory, metric))
    print_json(found) if as_json else typer.echo(format_runs(found, directory, metric, form, wide))
    if live:
        _serve(directory, metric, port)


def _serve(directory: Path, metric: str, port: int) -> None:
    """Serve the page of the runs on 127.0.0.1 until Ctrl-C."""
    from fv2es_train.serve.server import bound, listen
    from fv2es_train.serve.settings import ServeConfig
    from fv2es_train.training.runs import list_runs, runs_page

    config = ServeConfig(directory, port=port)
    with bound(config, "fv2es runs --live", say) as listener:
        from fastapi import FastAPI
        from fastapi.responses import HTMLResponse, Response
        from starlette.staticfiles import StaticFiles

        from fv2es_train.serve.api_errors import handle_errors

        app = FastAPI(title=_TITLE, docs_url=None, redoc_url=None)

        @app.get("/", response_class=HTMLResponse)
        def page() -> str:
            body = [
                "<main>",
                *runs_page(list_runs(directory), directory, metric),
                "</main><p role=status></p>",
            ]
            return page_html(_TITLE, body, _HEAD)

        @app.get("/page.css")
        def style() -> Response:
            return Response(STYLE, media_type="text/css")

        app.mount("/page", StaticFiles(directory=_SHARED))
        handle_errors(app, lambda _: None)
        listen(app, config, listener, say)
