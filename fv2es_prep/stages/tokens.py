"""The stage ``tokens``: the token ids of a transcript, from any Hugging Face tokenizer.

Owns loading a tokenizer, its identity, the column and its invariant.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import PrepSettings, TextSettings, digest_of
from fv2es_prep.errors import TokenizerError
from fv2es_prep.stages.base import Check, Column, Stage
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.stages.stage_rows import StageRows
from fv2es_prep.utils.files import cannot_write
from fv2es_prep.utils.hub import is_local

if TYPE_CHECKING:
    from numpy.typing import NDArray


# Directory of the tokenizer in a dataset and a run.
TOKENIZER_DIR = "tokenizer"

# Files and fields of a tokenizer's directory, beside its rules.
_CHANGING = ("added_tokens.json", "special_tokens_map.json")
_HARMLESS = {"backend", "tokenizer_class", "model_max_length"}


@functools.cache
def load_tokenizer(name_or_dir: str) -> Any:
    """Load a tokenizer from a directory or the hub, once; TokenizerError if there is none."""
    local = is_local(name_or_dir, "tokenizer", "--tokenizer")
    try:
        if _generic_config(Path(name_or_dir)) is not None:
            from transformers import PreTrainedTokenizerFast as Tokenizer
        else:
            from transformers import AutoTokenizer as Tokenizer
        return Tokenizer.from_pretrained(
            name_or_dir, local_files_only=local, trust_remote_code=False
        )
    except Exception as error:  # errors of two libraries; the type varies with the damage
        first = next(iter(str(error).strip().splitlines()), repr(error))
        raise TokenizerError(
            f"the tokenizer {name_or_dir!r} cannot be read: {first}",
            "pass a directory with tokenizer.json or spiece.model, and tokenizer_config.json",
        ) from error


def _generic_config(directory: Path) -> dict[str, Any] | None:
    """The configuration of a tokenizer of transformers' generic class, for `tokenizer.json`.

    None for every other tokenizer. AutoTokenizer chooses the same class, but imports torch first.
    """
    try:
        config: dict[str, Any] = json.loads(
            (directory / "tokenizer_config.json").read_text(encoding="utf-8")
        )
        generic = config["tokenizer_class"] in ("TokenizersBackend", "PreTrainedTokenizerFast")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return config if generic and (directory / "tokenizer.json").is_file() else None


def describe_tokenizer(name_or_dir: str, max_tokens: int) -> TextSettings:
    """Describe a tokenizer by its content, without its path.

    Raises:
        TokenizerError: it cannot be loaded, or is not a fast tokenizer.
    """
    is_directory = Path(name_or_dir).is_dir()
    if is_directory:
        # Before any of its files is read.
        is_local(name_or_dir, "tokenizer", "--tokenizer")
    backend, size, pad_id = _plain(Path(name_or_dir)) or _loaded(name_or_dir)
    return TextSettings(
        tokenizer=Path(name_or_dir).resolve().name if is_directory else name_or_dir,
        vocabulary_sha256=_digest(backend),
        vocabulary_size=size,
        pad_id=pad_id,
        max_tokens=max_tokens,
    )


def _loaded(name_or_dir: str) -> tuple[Any, int, int]:
    """Load a tokenizer: its rules, the size of its vocabulary, and its padding id."""
    tokenizer = load_tokenizer(name_or_dir)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise TokenizerError(
            f"the tokenizer {name_or_dir!r} is a slow tokenizer, expected a fast one",
            "save it with tokenizer.json (AutoTokenizer.from_pretrained(..., use_fast=True))",
        )
    return backend, len(tokenizer), tokenizer.pad_token_id or 0


def _plain(directory: Path) -> tuple[Any, int, int] | None:
    """`_loaded` without importing transformers, which takes longer than a dry run.

    Returns None if transformers could change the tokenizer after it reads ``tokenizer.json``.
    """
    config = _generic_config(directory)
    if config is None or any((directory / name).exists() for name in _CHANGING):
        return None
    from tokenizers import Tokenizer

    try:
        backend = Tokenizer.from_file(str(directory / "tokenizer.json"))
    except Exception:  # noqa: BLE001  # transformers reads it again, and its error is reported
        return None
    special = {name: config[name] for name in config.keys() - _HARMLESS}
    known = [each.content for each in backend.get_added_tokens_decoder().values() if each.special]
    if any(not name.endswith("_token") or text not in known for name, text in special.items()):
        return None
    pad_id = backend.token_to_id(special["pad_token"]) if "pad_token" in special else None
    return backend, backend.get_vocab_size(), pad_id or 0


def copy_tokenizer(name_or_dir: str, directory: Path) -> None:
    """Replace a directory by a tokenizer's files, from which it loads elsewhere.

    Raises:
        TokenizerError: it cannot be loaded.
        OutputError: it cannot be written.
    """
    if Path(name_or_dir).resolve() == directory.resolve():
        return
    fresh = directory.with_name(f".{directory.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        tokenizer = load_tokenizer(name_or_dir)
        if (backend := getattr(tokenizer, "backend_tokenizer", None)) is not None:
            # Each call sets it; otherwise the files depend on whether this process has tokenized.
            backend.no_truncation()
            backend.no_padding()
        tokenizer.save_pretrained(fresh)
        shutil.rmtree(directory, ignore_errors=True)
        fresh.replace(directory)
    except OSError as error:
        raise cannot_write(directory, error) from error


def tokenize(transcript: str, name_or_dir: str, settings: TextSettings) -> NDArray[np.int32]:
    """The token ids of a transcript, special tokens included: int32 (L,), L <= max_tokens.

    Raises:
        TokenizerError: the tokenizer is not the one in the settings, or gives an id outside its
            vocabulary.
    """
    found = _described(name_or_dir, settings.max_tokens)
    if found != dataclasses.replace(settings, tokenizer=found.tokenizer):
        raise TokenizerError(
            f"the tokenizer at {name_or_dir!r} has the digest {found.vocabulary_sha256[:12]}, "
            f"expected {settings.vocabulary_sha256[:12]}",
            "put the same tokenizer under that name for every worker",
        )
    tokenizer = load_tokenizer(name_or_dir)
    ids = tokenizer(transcript, truncation=True, max_length=settings.max_tokens)["input_ids"]
    if max(ids, default=0) >= settings.vocabulary_size:
        raise TokenizerError(
            f"the tokenizer at {name_or_dir!r} gives the id {max(ids)}, but has only "
            f"{settings.vocabulary_size} ids",
            "save it with ids that start at 0 and have no gaps",
        )
    return np.array(ids, np.int32)


_described = functools.cache(describe_tokenizer)


def _digest(backend: Any) -> str:
    """SHA-256 of a tokenizer's rules, without truncation, which each call sets."""
    rules = json.loads(backend.to_str())
    return digest_of({**rules, "truncation": None, "padding": None})


def _out_of_range(rows: StageRows) -> NDArray[np.bool_]:
    text, tokens = rows.settings.text, rows["values"]
    outside = rows.any((tokens < 0) | (tokens >= text.vocabulary_size))
    return outside | (rows.lengths > text.max_tokens)


class TokensStage(Stage):
    """Token ids, special tokens included."""

    name, needs, noun, symbol, section = "tokens", ("transcript",), "tokens", "ΣL", "text"
    can_drop = False
    checks = (
        Check("I13", "there are tokens out of the vocabulary, or too many", _out_of_range, True),
    )

    def columns(self, settings: PrepSettings) -> tuple[Column, ...]:
        return (Column("values", "ragged", "<i4", (), "", "token ids, special tokens included"),)

    def load(self, context: StageContext) -> Callable[[str], NDArray[np.int32]]:
        return lambda text: tokenize(text, context.tokenizer, context.settings.text)

    def identity(self, settings: PrepSettings) -> Any:
        # The digest identifies a tokenizer, whatever its name.
        return {**dataclasses.asdict(settings.text), "tokenizer": ""}

    def describe(self, value: NDArray[np.int32]) -> list[int]:
        ids: list[int] = value.tolist()
        return ids

    def lines(self, value: NDArray[np.int32]) -> list[str]:
        return [" ".join(map(str, value))]


TOKENS = TokensStage()
