"""One measurement: the numbers of a set of predictions with their intervals, as JSON-ready values.

Owns which parts a measurement has and their names. Leaves each number to `metrics`,
`single_label` and `bootstrap`, and how they look to `tables`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fv2es_train.evaluation.bootstrap import Draws, Plan, described, draw, intervals
from fv2es_train.evaluation.metrics import measure_predicted
from fv2es_train.evaluation.single_label import SINGLE_METRICS, measure_single, why_not_single

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fv2es_train.evaluation.predictions import Predictions


def measurement(predictions: Predictions, plan: Plan) -> dict[str, Any]:
    """Measure predictions and say how sure the numbers are.

    Args:
        predictions: of at least one utterance.
        plan: how to draw; with 0 resamples there are no intervals.

    Returns:
        JSON-ready: what `metrics.measure_predicted` returns; ``interval``, metric -> [low, high]
        of the averages; ``single_label``, what `single_label.measure_single` returns with its own
        ``interval``, or None; ``single_label_absent``, why it is None, else an empty string;
        ``bootstrap``, how the intervals were made, None without.

    Raises:
        UsageError: the plan draws what the corpus has no names for.
    """
    drawn = draw(predictions, plan) if plan.resamples else None
    return {
        **measure_predicted(
            predictions.truth, predictions.predicted, predictions.probability, predictions.classes
        ),
        "interval": intervals(drawn.average, plan.level) if drawn else None,
        "single_label": _single(predictions, plan, drawn),
        "single_label_absent": why_not_single(predictions.truth),
        "bootstrap": described(plan, drawn.units) if drawn else None,
    }


def numbers(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The averages of a measurement alone: ``average`` and ``single_label`` without confusion."""
    single = measured["single_label"]
    return {
        "average": dict(measured["average"]),
        "single_label": {name: single[name] for name in SINGLE_METRICS} if single else None,
    }


def _single(predictions: Predictions, plan: Plan, drawn: Draws | None) -> dict[str, Any] | None:
    if why_not_single(predictions.truth):
        return None
    found = measure_single(predictions.truth, predictions.logits, predictions.classes)
    edges = intervals(drawn.single_label, plan.level) if drawn else None
    return {**found, "interval": edges}
