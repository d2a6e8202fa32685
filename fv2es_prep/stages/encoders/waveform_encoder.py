"""Rows of speech encoders: wav2vec 2.0 and related models, and Whisper's encoder.

Padding changes the output of wav2vec 2.0 and HuBERT, whose first layer normalizes over time. So the
convolutions take one sound at a time, and only the later layers, which mask exactly, run in
batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from fv2es_prep.errors import SettingsError
from fv2es_prep.stages.encoders.encoder_loading import (
    by_length,
    exact,
    hidden_state,
    load_processor,
)
from fv2es_prep.stages.encoders.encoder_settings import EncoderSettings
from fv2es_prep.stages.waveform import FULL_SCALE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# Rows in a batch, measured on two cores.
_ROWS = 1000
# Context of a window on either side of its kept rows, for sound longer than a window.
_CONTEXT_S = 2.0


@dataclass(frozen=True)
class _Window:
    """A window: samples ``begin`` to ``stop`` of a sound, whose rows ``first`` to ``end`` are kept.

    The kept rows start at row ``at`` of the ``rows`` rows of the sound.
    """

    sound: int
    begin: int
    stop: int
    first: int
    end: int
    at: int
    rows: int


class WaveformEncoder:
    """From sounds, int16 (S,) each, to rows, float32 (R, D) each."""

    def __init__(
        self,
        directory: Path,
        network: Any,
        settings: EncoderSettings,
        rate_hz: int,
        batch: int = 0,
    ) -> None:
        self._network, self._settings, self._batch = network, settings, batch or _ROWS
        self._device = next(network.parameters()).device
        self._extractor = load_processor(directory, "AutoFeatureExtractor")
        if (expected := self._extractor.sampling_rate) != rate_hz:
            raise SettingsError(
                f"the waveform has {rate_hz} samples per second, {settings.encoder} expects "
                f"{expected}",
                f"prepare it with --set waveform.rate_hz={expected}",
            )
        self._rate_hz = rate_hz
        # Rows of the sound whose windows are being encoded.
        self._values: tuple[int, NDArray[np.float32]] = -1, np.zeros(0, np.float32)

    def __call__(self, sounds: Sequence[NDArray[np.int16]]) -> list[NDArray[np.float32]]:
        whisper = self._settings.architecture == "whisper"
        with exact():
            return self._whisper(sounds) if whisper else self._wav2vec2(sounds)

    def _wav2vec2(self, sounds: Sequence[NDArray[np.int16]]) -> list[NDArray[np.float32]]:
        self._values = -1, np.zeros(0, np.float32)
        windows = [w for number, sound in enumerate(sounds) for w in self._windows(number, sound)]
        hop, field = self._convolutions
        lengths = [1 + (max(w.stop - w.begin, field) - field) // hop for w in windows]
        found: dict[int, NDArray[np.float32]] = {}
        for batch in by_length(lengths, self._batch):
            chosen = [windows[place] for place in batch]
            projected = [self._projected(sounds, window) for window in chosen]
            for window, rows in zip(chosen, self._transformed(projected), strict=True):
                if window.sound not in found:
                    shape = (window.rows, rows.shape[1])
                    found[window.sound] = np.empty(shape, np.float32)
                kept = rows[window.first : window.end]
                found[window.sound][window.at : window.at + len(kept)] = kept
        return [found[number] for number in range(len(sounds))]

    @property
    def _convolutions(self) -> tuple[int, int]:
        """Samples from one row to the next, and the receptive field of a row in samples."""
        config, hop, field = self._network.config, 1, 1
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            field += (kernel - 1) * hop
            hop *= stride
        return hop, field

    def _windows(self, number: int, sound: NDArray[np.int16]) -> Iterator[_Window]:
        hop, field = self._convolutions
        rows = 1 + (max(len(sound), field) - field) // hop
        most, context = (
            int(s * self._rate_hz / hop) for s in (self._settings.window_s, _CONTEXT_S)
        )
        if rows <= most:
            yield _Window(number, 0, len(sound), 0, rows, 0, rows)
            return
        for first in range(0, rows, most):
            begin, end = max(0, first - context), min(rows, first + most)
            stop = min(rows, end + context) - 1
            inside = (first - begin, end - begin)
            yield _Window(number, begin * hop, stop * hop + field, *inside, first, rows)

    def _projected(self, sounds: Sequence[NDArray[np.int16]], window: _Window) -> Tensor:
        """The transformer's input for a window: float32 (R, D)."""
        if self._values[0] != window.sound:
            sound = sounds[window.sound].astype(np.float32) / FULL_SCALE
            values = self._extractor(sound, sampling_rate=self._rate_hz)["input_values"][0]
            self._values = window.sound, np.asarray(values, np.float32)
        heard = self._values[1][window.begin : window.stop]
        short = max(0, self._convolutions[1] - len(heard))
        inputs = torch.from_numpy(np.pad(heard, (0, short)))[None].to(self._device)
        projected = self._network.feature_projection(
            self._network.feature_extractor(inputs).transpose(1, 2)
        )
        one: Tensor = (projected[0] if isinstance(projected, tuple) else projected)[0]
        return one

    def _transformed(self, projected: Sequence[Tensor]) -> list[NDArray[np.float32]]:
        lengths = [len(rows) for rows in projected]
        padded = pad_sequence(list(projected), batch_first=True)
        mask = None
        if min(lengths) < max(lengths):
            places = torch.arange(max(lengths), device=padded.device)[None]
            mask = places < torch.tensor(lengths, device=padded.device)[:, None]
        states = hidden_state(
            self._network,
            self._settings.layer,
            self._settings,
            lambda: self._network.encoder(padded, attention_mask=mask)[0],
        )
        found = states.cpu().numpy()
        return [rows[:length] for rows, length in zip(found, lengths, strict=True)]

    def _whisper(self, sounds: Sequence[NDArray[np.int16]]) -> list[NDArray[np.float32]]:
        length = self._extractor.n_samples
        pieces = [
            (number, sound[begin : begin + length])
            for number, sound in enumerate(sounds)
            for begin in range(0, max(len(sound), 1), length)
        ]
        parts: list[list[NDArray[np.float32]]] = [[] for _ in sounds]
        rows = self._network.config.max_source_positions
        step = max(1, self._batch // rows)
        for first in range(0, len(pieces), step):
            batch = pieces[first : first + step]
            heard = [sound.astype(np.float32) / FULL_SCALE for _, sound in batch]
            features = self._extractor(heard, sampling_rate=self._rate_hz, return_tensors="pt")
            inputs = features["input_features"].to(self._device)
            states = hidden_state(
                self._network,
                self._settings.layer,
                self._settings,
                lambda inputs=inputs: self._network(inputs)[0],
            )
            for (number, sound), one in zip(batch, states.cpu().numpy(), strict=True):
                kept = math.ceil(len(sound) / (2 * self._extractor.hop_length))
                parts[number].append(one[: max(kept, 1)])
        return [np.concatenate(rows) if len(rows) > 1 else rows[0] for rows in parts]
