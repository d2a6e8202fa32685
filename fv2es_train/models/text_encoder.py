"""Encode token ids: the hidden state at token 0 of ALBERT or another transformers encoder.

Owns loading the pretrained encoder, its errors, and the small random encoder of `fv2es-tiny`. Omits
the pooler, which nothing reads.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fv2es_prep.errors import TokenizerError, TrainError
from fv2es_prep.utils.hub import is_local
from fv2es_prep.utils.pretrained import load_network, quiet, refuse_absurd, refuse_code


class TextEncoder(nn.Module):
    """ALBERT, or another transformers encoder with ids and mask as input."""

    def __init__(self, albert: nn.Module) -> None:
        super().__init__()
        self.albert = albert

    @property
    def width(self) -> int:
        """Size of the hidden state."""
        return int(self.albert.config.hidden_size)  # type: ignore[union-attr,arg-type]  # transformers

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids that the encoder accepts."""
        return int(self.albert.config.vocab_size)  # type: ignore[union-attr,arg-type]  # transformers

    @property
    def longest(self) -> int | None:
        """Maximum number of tokens of a text; None if positions have no learned vectors."""
        for name, part in self.albert.named_modules():
            if name.endswith("position_embeddings") and isinstance(part, nn.Embedding):
                # RoBERTa counts positions from the padding id + 1.
                first = 0 if part.padding_idx is None else part.padding_idx + 1
                return part.num_embeddings - first
        return None

    @property
    def config(self) -> dict[str, Any]:
        """Its transformers configuration, see `from_config`."""
        values: dict[str, Any] = self.albert.config.to_dict()  # type: ignore[union-attr,operator]
        # A checkpoint must not contain local paths.
        values.pop("_name_or_path", None)
        return values

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Map token ids, int64 (B, L), and their mask (1 for a token) to vectors (B, width)."""
        hidden: Tensor = self.albert(
            input_ids=tokens, attention_mask=attention_mask
        ).last_hidden_state
        return hidden[:, 0]


def small(vocabulary_size: int, pad_id: int) -> TextEncoder:
    """Make a small ALBERT with random weights, for a model without a pretrained text encoder.

    Raises:
        TrainError: the vocabulary size is unknown.
    """
    from transformers import AlbertConfig

    if vocabulary_size < 1:
        raise TrainError(
            "the vocabulary size of the tokenizer is unknown",
            "pass a text encoder: --text-encoder NAME_OR_DIR",
        )
    config = AlbertConfig(
        vocab_size=vocabulary_size,
        embedding_size=32,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=512,
        pad_token_id=pad_id,
    )
    return from_config(config.to_dict())


def from_config(values: dict[str, Any]) -> TextEncoder:
    """Make an encoder with random weights from a `TextEncoder.config`, to load a checkpoint into.

    Raises:
        ValueError: the configuration refers to code, or has impossible sizes.
    """
    from transformers import AlbertConfig, AlbertModel, AutoConfig, AutoModel

    refuse_absurd(refuse_code(values))
    if values.get("model_type", "albert") == "albert":
        albert = AlbertConfig.from_dict(dict(values))
        return TextEncoder(AlbertModel(albert, add_pooling_layer=False))
    config = AutoConfig.for_model(**values)
    return TextEncoder(
        AutoModel.from_config(config, add_pooling_layer=False, trust_remote_code=False)
    )


def pretrained(name: str) -> TextEncoder:
    """Load a pretrained encoder from a directory in transformers' format or the Hugging Face Hub.

    Raises:
        TokenizerError: the directory is incomplete, or the name is neither cached nor on a
            reachable Hub.
    """
    from transformers import AutoConfig

    local = is_local(name, "text encoder", "--text-encoder")
    try:
        with quiet():
            config = AutoConfig.from_pretrained(
                name, local_files_only=local, trust_remote_code=False
            )
            refuse_absurd(config.to_dict())
            albert, found = load_network(name, config, local, add_pooling_layer=False)
    except Exception as error:  # several libraries raise their own, depending on the damage
        first = next(iter(str(error).strip().splitlines()), repr(error))
        raise TokenizerError(
            f"the text encoder {name!r} cannot be loaded: {first}",
            "pass a directory that save_pretrained of transformers wrote, with config.json and "
            "model.safetensors: --text-encoder DIR",
        ) from error
    if missing := sorted(found["missing_keys"]):
        raise TokenizerError(
            f"the text encoder {name!r} lacks {len(missing)} weights, the first is {missing[0]!r}",
            "pass a directory with all weights of the encoder: --text-encoder DIR",
        )
    return TextEncoder(albert.float())
