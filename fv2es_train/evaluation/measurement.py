"""One measurement: the metrics of a set of predictions with their intervals, as JSON values.

Owns the keys of a measurement. Leaves the metrics to `metrics`, `single_label` and `bootstrap`,
and their printed form to `tables`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fv2es_train.evaluation.bootstrap import Bootstrap, Draws, described, draw, intervals
from fv2es_train.evaluation.metrics import measure_predicted
from fv2es_train.evaluation.single_label import SINGLE_METRICS, measure_single, why_not_single

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fv2es_train.evaluation.predictions import Predictions


def measurement(predictions: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    """Measure predictions, with confidence intervals.

    Args:
        predictions: at least one utterance.
        bootstrap: how to resample; 0 resamples give no intervals.

    Returns:
        JSON-ready: what `metrics.measure_predicted` returns; ``interval``, metric -> [low, high]
        of the averages; ``single_label``, what `single_label.measure_single` returns with its own
        ``interval``, or None; ``single_label_absent``, why it is None, else an empty string;
        ``bootstrap``, the settings of the resampling, or None.

    Raises:
        UsageError: the corpus does not name the unit to draw.
    """
    drawn = draw(predictions, bootstrap) if bootstrap.resamples else None
    return {
        **measure_predicted(
            predictions.truth, predictions.predicted, predictions.probability, predictions.classes
        ),
        "interval": intervals(drawn.average, bootstrap.level) if drawn else None,
        "single_label": _single(predictions, bootstrap, drawn),
        "single_label_absent": why_not_single(predictions.truth),
        "bootstrap": described(bootstrap, drawn.units) if drawn else None,
    }


def numbers(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The averages of a measurement alone: ``average`` and ``single_label`` without confusion."""
    single = measured["single_label"]
    return {
        "average": dict(measured["average"]),
        "single_label": {name: single[name] for name in SINGLE_METRICS} if single else None,
    }


def _single(
    predictions: Predictions, bootstrap: Bootstrap, drawn: Draws | None
) -> dict[str, Any] | None:
    if why_not_single(predictions.truth):
        return None
    found = measure_single(predictions.truth, predictions.logits, predictions.classes)
    edges = intervals(drawn.single_label, bootstrap.level) if drawn else None
    return {**found, "interval": edges}
