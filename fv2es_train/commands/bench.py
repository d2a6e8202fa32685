"""`fv2es bench`: its options and what it prints. Leaves the work to `bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from fv2es_prep.utils.console import Json, say
from fv2es_prep.utils.flags import Flag, Given, options_of
from fv2es_prep.utils.tables import Format
from fv2es_train.bench.bench_config import BenchConfig
from fv2es_train.bench.protocol import preset_of, protocols
from fv2es_train.commands.train import show_trainings

_PROTOCOL = (
    f"Protocol of papers: {', '.join(protocols())}, or FILE.toml; checks dataset and split, sets "
    "defaults, and shows published results beside."
)
_OPTIONS = {
    "Data": ("shards", "split", "out"),
    "Protocol": (
        Flag("protocol", metavar="NAME|FILE", help=_PROTOCOL),
        *("models", "modalities", "seeds", "features"),
    ),
    "Table": ("metrics", "resamples"),
    "Speed": (Flag("jobs", metavar="N"),),
}


@options_of(BenchConfig, _OPTIONS, preset_of)
def bench(
    given: Given[BenchConfig],
    wide: Annotated[
        bool,
        typer.Option("--wide", help="Print one row per model.", rich_help_panel="Table"),
    ] = False,
    form: Format = "table",
    as_json: Json = False,
) -> None:
    """Train and measure many models by one protocol, and write one table.

    The same command continues after an interruption. The first row is the baseline of the
    differences.
    """
    config = given.resolve()
    from fv2es_train.bench.bench_forms import format_bench
    from fv2es_train.bench.trainings import bench as run_bench

    result = run_bench(config, say)
    places = f"tables {config.out / 'table'}.csv, .md, .tex, .json"
    show_trainings(
        result, format_bench(result, wide, form), places if form == "table" else "", as_json
    )
