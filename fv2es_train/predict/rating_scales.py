"""The scales of the ratings that a run predicts, in plain words. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fv2es_train.models.families import ModelConfig

# Rating -> meaning of its low and high end, as in IEMOCAP (Busso et al. 2008) and CMU-MOSEI.
_ENDS = {
    "valence": ("negative", "positive"),
    "activation": ("calm", "excited"),
    "arousal": ("calm", "excited"),
    "dominance": ("weak", "strong"),
    "sentiment": ("negative", "positive"),
}


@dataclass(frozen=True)
class RatingScale:
    """A rating and its scale.

    Attributes:
        name: name of the rating in the corpus.
        low: lowest value in the training data; None if the run does not store it.
        high: highest value.
        low_means: meaning of a low value; empty if unknown.
        high_means: meaning of a high value.
    """

    name: str
    low: float | None = None
    high: float | None = None
    low_means: str = ""
    high_means: str = ""

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.name} ({self.low_means} to {self.high_means})".replace(" ( to )", "")
        means = [f" ({meant})" if meant else "" for meant in (self.low_means, self.high_means)]
        return f"{self.name} from {self.low:g}{means[0]} to {self.high:g}{means[1]}"


def rating_scales(config: ModelConfig) -> tuple[RatingScale, ...]:
    """The scale of each rating that a model learned."""
    ranges = config.rating_range or ((None, None),) * len(config.ratings)
    return tuple(
        RatingScale(name, *ends, *_ENDS.get(name, ("", "")))
        for name, ends in zip(config.ratings, ranges, strict=True)
    )
