"""The FV2ES network: three encoders, each with a head, and linear late fusion.

Leaves each part to `encoders` and `text_encoder`, and sizes to `fv2es_config`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fv2es_prep.errors import TrainError
from fv2es_train.models.branches import Branch, BranchInput
from fv2es_train.models.emotion_model import EmotionModel
from fv2es_train.models.encoders import (
    FaceEncoder,
    MelEncoder,
    SequenceEncoder,
    VggMelEncoder,
    fused,
)
from fv2es_train.models.sound_encoder import SoundEncoder

if TYPE_CHECKING:
    from fv2es_prep.config import PrepSettings
    from fv2es_train.data.batches import Batch
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.models.fv2es_config import FV2ESConfig
    from fv2es_train.models.text_encoder import TextEncoder

# The published code stacks the logits in this order; the fusion weights follow it.
STACKED = "tva"
_MEL_ENCODERS: dict[str, Callable[[FV2ESConfig], nn.Module]] = {
    "nest": MelEncoder,
    "vgg": VggMelEncoder,
    "conv": SoundEncoder,
}
_ENCODERS = {"t": "text", "v": "face", "a": "mel"}


class FV2ES(EmotionModel):
    """Emotion logits from faces, mel spectrum and words (Wei et al. 2022, arXiv 2209.10170).

    Has only the parts of the chosen modalities; the modality ``t`` needs ``text``.
    """

    config: FV2ESConfig
    heads = ("t_out", "v_out", "a_out")

    def __init__(self, config: FV2ESConfig, text: TextEncoder | None = None) -> None:
        super().__init__(config)
        outputs, width = config.outputs, config.trans_dim
        self.modalities = "".join(m for m in STACKED if m in config.modalities)
        if "t" in self.modalities:
            assert text is not None, "the modality t needs a text encoder"
            self.text = text
            self.t_out = nn.Linear(text.width, outputs)
        if "v" in self.modalities:
            self.face = FaceEncoder(config)
            self.v_transformer = SequenceEncoder(config)
            self.v_out = nn.Linear(width, outputs)
        if "a" in self.modalities:
            self.mel = _MEL_ENCODERS[config.mel_encoder](config)
            if isinstance(self.mel, SoundEncoder):
                width = self.mel.width
            else:
                self.a_transformer = SequenceEncoder(config)
            self.a_out = nn.Linear(width, outputs)
        if len(self.modalities) > 1:
            self.weighted_fusion = nn.Linear(len(self.modalities), 1, bias=False)
            if config.fusion_init == "mean":
                nn.init.constant_(self.weighted_fusion.weight, 1 / len(self.modalities))

    def fit(self, dataset: ShardDataset) -> float:
        """See `EmotionModel`; fits the normalization of the sound."""
        if "a" in self.modalities and isinstance(self.mel, SoundEncoder):
            self.mel.fit(dataset)
        return 0.0

    def forward(self, batch: Batch) -> Tensor:
        """See `EmotionModel`."""
        return self.fuse(self.modality_logits(batch), batch.missing)

    def fuse(self, logits: Mapping[str, Tensor], missing: Sequence[str]) -> Tensor:
        """See `EmotionModel`; omits the terms of missing modalities, see `scale`."""
        stacked = torch.stack([logits[m] for m in self.modalities], dim=-1)
        if any(missing):
            # (B, C, M) * (B, 1, M), so no gradient reaches the branch of a missing modality.
            stacked = stacked * self.term_factors(missing).to(stacked.device)[:, None]
        if len(logits) == 1:
            return stacked.squeeze(-1)
        joined: Tensor = self.weighted_fusion(stacked).squeeze(-1)
        return joined

    def modality_logits(
        self, batch: Batch, only: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """See `EmotionModel`; in the order of fusion."""
        heads = {"t": self._text, "v": self._faces, "a": self._sound}
        return {m: heads[m](batch) for m in self.modalities if only is None or m in only}

    def fusion_weights(self) -> dict[str, float]:
        """See `EmotionModel`; in the order of fusion."""
        if len(self.modalities) == 1:
            return {self.modalities: 1.0}
        values = self.weighted_fusion.weight[0].tolist()
        return dict(zip(self.modalities, values, strict=True))

    @property
    def text_encoder(self) -> TextEncoder | None:
        """See `EmotionModel`."""
        return self.text if "t" in self.modalities else None

    def encoders(self) -> list[nn.Module]:
        """Only the encoders: later parts would recompile for each number of faces per utterance."""
        found = [self.get_submodule(_ENCODERS[m]) for m in self.modalities]
        # For sound, only the part that does not depend on the division into utterances.
        return [part.stack if isinstance(part, SoundEncoder) else part for part in found]

    def branch_of(self, name: str) -> str:
        """See `EmotionModel`; empty for the fusion."""
        part = name.partition(".")[0]
        of = (m for m, own in _ENCODERS.items() if part in (own, f"{m}_transformer", f"{m}_out"))
        return next(of, "")

    def export_branches(self) -> dict[str, Branch]:
        """See `EmotionModel`; in the order of fusion."""
        inputs = _inputs(self.config, self.text.longest if "t" in self.modalities else None)
        runs = {"t": self._text_of, "v": self._faces_of, "a": self._sound_of}
        found = {}
        for m in self.modalities:
            given = inputs[m]
            found[m] = Branch(self._parts_of(m), runs[m], given, given.name)
        return found

    def row_encoders(self) -> dict[str, tuple[BranchInput, ...]]:
        """See `EmotionModel`: of texts, of faces, and of mel chunks."""
        inputs = _inputs(self.config, None)
        found: dict[str, tuple[BranchInput, ...]] = {
            _ENCODERS[m]: (inputs[m],) for m in self.modalities if m != "t"
        }
        if "t" in self.modalities:
            rows = ("texts", "tokens")
            found["text"] = tuple(
                BranchInput(name, "int64", rows, meaning, self.text.longest)
                for name, meaning in (("tokens", "token ids"), ("mask", "1 for a token"))
            )
        return {n: i for n, i in found.items() if not isinstance(getattr(self, n), SoundEncoder)}

    def for_inference(self) -> FV2ES:
        """A copy in eval mode with fused RepVGG blocks; it shares all other weights."""
        return fused(self)

    def _parts_of(self, letter: str) -> nn.ModuleList:
        names = (_ENCODERS[letter], f"{letter}_transformer", f"{letter}_out")
        return nn.ModuleList(getattr(self, name) for name in names if hasattr(self, name))

    def _text_of(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.t_out(self.text(tokens, torch.ones_like(tokens)))
        return logits

    def _faces_of(self, faces: Tensor) -> Tensor:
        logits: Tensor = self.v_out(self.v_transformer.one(self.face(faces)))
        return logits

    def _sound_of(self, mel: Tensor) -> Tensor:
        if isinstance(self.mel, SoundEncoder):
            vectors = self.mel(mel, (mel.shape[0],))
        else:
            vectors = self.a_transformer.one(self.mel(mel))
        logits: Tensor = self.a_out(vectors)
        return logits

    def _text(self, batch: Batch) -> Tensor:
        if batch.tokens.shape[1]:
            vectors = self.text(batch.tokens, batch.attention_mask)
        else:
            vectors = _nothing(self.text, len(batch), self.text.width)
        logits: Tensor = self.t_out(vectors)
        return logits

    def _faces(self, batch: Batch) -> Tensor:
        faces, side = batch.faces, self.config.face_px
        if not len(faces):
            # Without a face, the batch does not define their height and width.
            faces = faces.new_zeros(0, 3, side, side)
        vectors = self._in_parts(self.face, faces)
        logits: Tensor = self.v_out(self.v_transformer(vectors, batch.face_counts))
        return logits

    def _sound(self, batch: Batch) -> Tensor:
        if isinstance(self.mel, SoundEncoder):
            vectors = self._utterances(self.mel, batch)
        else:
            chunks = self._in_parts(self.mel, batch.mel)
            vectors = self.a_transformer(chunks, batch.chunk_counts)
        logits: Tensor = self.a_out(vectors)
        return logits

    def _utterances(self, encoder: SoundEncoder, batch: Batch) -> Tensor:
        mel, counts = batch.mel, list(batch.chunk_counts)
        if not len(mel) and not _waits_for_others(encoder):
            return _nothing(encoder, len(batch), encoder.width)
        if self.max_rows is None or len(mel) <= self.max_rows:
            vectors: Tensor = encoder(mel, counts)
            return vectors
        parts = zip(torch.split(mel, counts), counts, strict=True)
        return torch.cat([encoder(chunks, (count,)) for chunks, count in parts])

    def _in_parts(self, encoder: nn.Module, pictures: Tensor) -> Tensor:
        if not len(pictures) and not _waits_for_others(encoder):
            return _nothing(encoder, 0, self.config.trans_dim)
        if self.max_rows is None or len(pictures) <= self.max_rows:
            vectors: Tensor = encoder(pictures)
            return vectors
        return torch.cat([encoder(part) for part in torch.split(pictures, self.max_rows)])


def _inputs(config: FV2ESConfig, longest: int | None) -> dict[str, BranchInput]:
    """The input of each branch."""
    faces, mel = ("faces", 3, config.face_px, config.face_px), (1, config.mel_bands)
    return {
        "t": BranchInput("tokens", "int64", (1, "tokens"), "token ids, without padding", longest),
        "v": BranchInput("faces", "float32", faces, "face crops, RGB, scale 0 to 255"),
        "a": BranchInput(
            "mel",
            "float32",
            ("chunks", *mel, config.mel_rows),
            f"linear mel power, bands by {config.mel_rows} rows of time; the last chunk ends in "
            "zeros",
        ),
    }


def _nothing(encoder: nn.Module, rows: int, width: int) -> Tensor:
    """Zeros for an encoder without input, but in the graph: DDP expects all parameters."""
    if not torch.is_grad_enabled():
        return torch.zeros(rows, width, device=next(encoder.parameters(), torch.empty(0)).device)
    none = 0 * torch.stack([parameter.sum() for parameter in encoder.parameters()]).sum()
    return none.expand(rows, width)


def _waits_for_others(encoder: nn.Module) -> bool:
    """Whether the encoder has synchronized batch norms, which all processes must call."""
    norms = (m for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return encoder.training and any(type(norm) is not nn.BatchNorm2d for norm in norms)


def build_model(config: FV2ESConfig, settings: PrepSettings) -> FV2ES:
    """Build the network before training: random weights, except for a pretrained text encoder.

    If ``config.text`` is set, the text encoder is also random, for a checkpoint to be loaded. The
    ``config`` of the network has the configuration of the text encoder. Raises what
    `families.build` raises.
    """
    from fv2es_train.models import text_encoder as texts

    if "t" not in config.modalities:
        return FV2ES(config)
    words = settings.text
    if config.text:
        text = texts.from_config(config.text)
    elif config.text_encoder:
        text = texts.pretrained(config.text_encoder)
    else:
        text = texts.small(words.vocabulary_size, words.pad_id)
    if words.vocabulary_size > text.vocabulary_size:
        raise TrainError(
            f"the tokenizer of the shards, {words.tokenizer!r}, has {words.vocabulary_size} token "
            "ids, "
            f"but the text encoder accepts {text.vocabulary_size}",
            "pass the text encoder that belongs to the tokenizer: --text-encoder NAME_OR_DIR",
        )
    if words.max_tokens > (longest := text.longest or words.max_tokens):
        raise TrainError(
            f"the texts of the shards have up to {words.max_tokens} token ids, but the text "
            "encoder "
            f"accepts {longest}",
            f"prepare the shards with --set text.max_tokens={longest}, or pass another "
            "--text-encoder",
        )
    if config.text:
        return FV2ES(config, text)
    # Only the name of the directory: a checkpoint must not contain local paths.
    name = Path(config.text_encoder).name if Path(config.text_encoder).is_dir() else ""
    return FV2ES(replace(config, text=text.config, text_encoder=name or config.text_encoder), text)
