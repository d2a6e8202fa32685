"""`fv2es eval` and `fv2es compare`: their options and what they print.

Leaves the metrics and the comparison to `evaluation`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fv2es_prep.utils.console import Json, Page, print_json, say
from fv2es_prep.utils.fields import docs_of
from fv2es_prep.utils.tables import Format, Wide
from fv2es_train.engines.choice import Engine, Precision
from fv2es_train.predict.request import PredictConfig

_WHAT, _HOW = "What to measure", "How to measure"
# As in prediction.
_DOCS = docs_of(PredictConfig)


def _option(text: str, metavar: str | None = None, panel: str = _WHAT, name: str = "") -> Any:
    names = (name,) if name else ()
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel)


Subset = Annotated[Literal["train", "valid", "test"], _option("Subset of the split.")]
Resamples = Annotated[int, _option("Bootstrap resamples (0 = off).", "N", _HOW)]
Unit = Annotated[
    Literal["utterance", "recording", "speaker"],
    _option("Unit that the bootstrap resamples.", panel=_HOW),
]
Groups = Literal["speaker", "session", "recording", "modality-missing", "modality"]
Seen = Annotated[
    bool,
    _option(
        "Also measure utterances that the run was trained or validated on.",
        name="--allow-seen",
    ),
]
Device = Annotated[str, _option("Device: auto, cpu, cuda or cuda:N.", "DEVICE", _HOW)]


def eval_(
    shards: Annotated[Path, _option("Directory that `fv2es prep` wrote.", "SHARDS")],
    split: Annotated[Path, _option("Split manifest.", "FILE")],
    run: Annotated[Path, _option("Directory of the run.", "RUN")],
    subset: Subset = "test",
    by: Annotated[Groups | None, _option("Also measure each group of this kind.")] = None,
    resamples: Resamples = 1000,
    bootstrap_by: Unit = "utterance",
    predictions: Annotated[
        Path | None, _option("Also write a CSV with each utterance's predictions.", "FILE")
    ] = None,
    allow_seen: Seen = False,
    batch_size: Annotated[int | None, _option("Utterances in a batch.", "N", _HOW)] = None,
    device: Device = "auto",
    engine: Annotated[Engine, _option(_DOCS["engine"], panel=_HOW)] = "auto",
    precision: Annotated[Precision, _option(_DOCS["precision"], panel=_HOW)] = "float32",
    form: Format = "table",
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Measure a run on a subset, with the thresholds fitted on valid."""
    from fv2es_prep.utils.phases import phases
    from fv2es_train.evaluation.evaluate import evaluate
    from fv2es_train.evaluation.measurement import Bootstrap
    from fv2es_train.evaluation.tables import format_metrics

    bootstrap = Bootstrap(resamples, bootstrap_by)
    with phases() as phase:
        result = evaluate(
            *(shards, split, run, subset, batch_size, device, by, bootstrap, predictions),
            *(allow_seen, engine, precision, phase),
        )
    if not result["thresholds_fitted"]:
        say("thresholds are not fitted, because the run was converted; each class uses 0.5")
    print_json(result) if as_json else typer.echo(format_metrics(result, form, wide))


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Runs; the first is the baseline.")],
    subset: Subset = "test",
    shards: Annotated[Path | None, _option("Measure again on these shards.", "SHARDS")] = None,
    split: Annotated[Path | None, _option("Split manifest for --shards.", "FILE")] = None,
    resamples: Resamples = 1000,
    bootstrap_by: Unit = "utterance",
    allow_seen: Seen = False,
    device: Device = "auto",
    page: Page = None,
    form: Format = "table",
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Compare runs on the same utterances, from their stored predictions."""
    from fv2es_prep.utils.phases import phases
    from fv2es_train.evaluation.comparison import compare as compare_runs
    from fv2es_train.evaluation.measurement import Bootstrap
    from fv2es_train.evaluation.tables import format_comparison

    bootstrap = Bootstrap(resamples, bootstrap_by)
    with phases() as phase:
        found = compare_runs(runs, subset, shards, split, device, bootstrap, allow_seen, phase)
    if page is not None:
        from fv2es_prep.utils.pages import write_page
        from fv2es_train.evaluation.run_page import comparison_body

        write_page(page, "fv2es: comparison", comparison_body(found))
    print_json(found) if as_json else typer.echo(format_comparison(found, form, wide))
