"""The settings of an encoder stage, and what a dataset stores of its encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from fv2es_prep.utils.fields import check_fields


@dataclass(frozen=True)
class EncoderOptions:
    """What the user chooses of an encoder.

    Attributes:
        layer: Layer whose output is stored: 0 is the input of the first layer, -1 the encoder's
            output, -2 the layer before it.
        pool: none stores every row: about 20 ms of sound, a face, a token; mean stores their mean.
        window_s: Longer sound is encoded in windows of this many seconds.
        max_tokens: Longest sequence of tokens; longer ones are truncated.
    """

    layer: int = -1
    pool: Literal["none", "mean"] = "none"
    window_s: Annotated[float, Meta(ge=1, le=120)] = 30.0
    max_tokens: Annotated[int, Meta(ge=2)] = 512

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class EncoderSettings(EncoderOptions):
    """What a dataset stores of an encoder; reading it needs no encoder.

    Attributes:
        encoder: Name at the hub, or last part of the directory.
        architecture: ``model_type`` of its configuration.
        sha256: Digest of its weights and configuration.
        transformers: Version of transformers.
        layers: Number of layers; ``layer`` is this for the encoder's output.
        width: Length of a row.
        rate_hz: Rows in a second; 0 where rows are faces or tokens.
    """

    encoder: str = ""
    architecture: str = ""
    sha256: str = ""
    transformers: str = ""
    layers: int = 0
    width: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    rate_hz: Annotated[float, Meta(ge=0)] = 0.0
