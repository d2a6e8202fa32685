"""`fv2es browse`: the options of the page over a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fv2es_prep.utils.console import say


def browse(
    shards: Annotated[
        Path, typer.Argument(help="Directory that `fv2es prep` wrote.", metavar="SHARDS")
    ],
    run: Annotated[
        list[Path] | None, typer.Option(help="Run whose predictions are shown.", metavar="RUN")
    ] = None,
    raw: Annotated[
        Path | None, typer.Option(help="Raw corpus whose recordings are played.", metavar="RAW")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="Split whose subsets are shown.", metavar="FILE")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any free one.", min=0, max=65535)] = 7861,
) -> None:
    """Look at a dataset in the browser: filter, listen, mark what is wrong."""
    from fv2es_train.serve.server import bound, listen
    from fv2es_train.serve.settings import ServeConfig

    config = ServeConfig(shards, host, port)
    with bound(config, "fv2es browse", say) as listener:
        from fv2es_train.browse.api import BrowseApi
        from fv2es_train.browse.excerpts import Corpus
        from fv2es_train.browse.table import Table
        from fv2es_train.serve.workspace import private_workspace

        table = Table(shards, run or (), split)
        with private_workspace() as folder:
            corpus = Corpus(raw, table.catalogue.index, folder) if raw else None
            listen(BrowseApi(table, corpus).app(), config, listener, say)
