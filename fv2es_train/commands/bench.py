"""`fv2es bench`: its options and what it prints. Leaves the work to `bench`."""

from __future__ import annotations

from fv2es_prep.utils.console import Json, say
from fv2es_prep.utils.flags import Flag, Given, options_of
from fv2es_train.bench.protocol import BenchConfig
from fv2es_train.commands.train import show_trainings

_OPTIONS = {
    "Data": ("shards", "split", "out"),
    "Protocol": ("models", "modalities", "seeds", "features"),
    "Table": ("metrics", "resamples"),
    "Speed": (Flag("jobs", metavar="N"),),
}


@options_of(BenchConfig, _OPTIONS)
def bench(given: Given[BenchConfig], as_json: Json = False) -> None:
    """Train and measure many models by one protocol, and write one table.

    The same command continues after an interruption. The first row is the baseline of the
    differences.
    """
    config = given.resolve()
    from fv2es_train.bench.bench_table import format_bench
    from fv2es_train.bench.trainings import bench as run_bench

    result = run_bench(config, say)
    places = f"tables {config.out / 'table'}.csv, .md, .tex, .json"
    show_trainings(result, format_bench(result), places, as_json)
