"""A small local ALBERT with random weights, and its tokenizer, in the transformers format."""

import math
from collections import Counter
from pathlib import Path

import numpy as np

from fv2es_prep.demo.script import EMOTIONS, make_sentence

_MAX_TOKENS = 128
# In the order of the published ALBERT vocabularies.
_SPECIALS = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?:;'-[]\""
_SPACE = "\u2581"  # how sentence pieces mark the start of a word


def make_text_model(directory: Path, *, seed: int = 0) -> Path:
    """Write a small ALBERT and its tokenizer into a directory; returns the directory.

    The weights are random, drawn from the seed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    pieces = _make_pieces()
    _save_tokenizer(directory, pieces)
    _save_model(directory, len(pieces), seed)
    return directory


def _make_pieces() -> list[tuple[str, float]]:
    """The pieces and their log probabilities; the position is the token id.

    Words are counted, not learned: the bytes of a trained Unigram depend on its threads.
    """
    counts = _count_words(3000)
    total = sum(counts.values())
    words = [(word, math.log(count / total)) for word, count in sorted(counts.items())]
    # So unlikely that they only spell words outside the vocabulary.
    spelled = [(_SPACE, -9.0), *((character, -15.0) for character in _CHARACTERS)]
    known = dict(words)
    return [(s, 0.0) for s in _SPECIALS] + words + [p for p in spelled if p[0] not in known]


def _count_words(sentences: int) -> Counter[str]:
    rng = np.random.default_rng(0)
    counts: Counter[str] = Counter()
    for number in range(sentences):
        sentence = make_sentence(rng, EMOTIONS[number % len(EMOTIONS)]).lower()
        for word in sentence.split():
            bare = word.strip(".,!:")
            counts[_SPACE + bare] += 1
            counts.update(word[len(bare) :])
    return counts


def _save_tokenizer(directory: Path, pieces: list[tuple[str, float]]) -> None:
    import tokenizers
    from tokenizers import models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {piece: number for number, (piece, _) in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(
        models.Unigram(pieces, unk_id=ids["<unk>"], byte_fallback=False)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Strip(),
            normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, ids[name]) for name in ("[CLS]", "[SEP]")],
    )
    roles = {"bos": 2, "eos": 3, "unk": 1, "sep": 3, "pad": 0, "cls": 2, "mask": 4}
    names = {f"{role}_token": _SPECIALS[number] for role, number in roles.items()}
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=_MAX_TOKENS, **names
    )
    whole.save_pretrained(directory)


def _save_model(directory: Path, vocabulary: int, seed: int) -> None:
    import torch
    from transformers import AlbertConfig, AlbertModel
    from transformers.utils import logging

    config = AlbertConfig(
        vocab_size=vocabulary,
        embedding_size=32,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=_MAX_TOKENS,
    )
    # The caller's random state stays as it is.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        logging.disable_progress_bar()
        AlbertModel(config).save_pretrained(directory)
        logging.enable_progress_bar()
