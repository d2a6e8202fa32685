"""A small local ALBERT with random weights, and its tokenizer, in the transformers format.

Owns the model that stands in for the published ALBERT where nothing can be downloaded.
"""

import math
from collections import Counter
from pathlib import Path

import numpy as np

from fv2es_prep.demo.sentences import EMOTIONS, make_sentence

_MAX_TOKENS = 128
# In the order of the published ALBERT vocabularies.
_SPECIALS = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?:;'-[]\""
_SPACE = "\u2581"  # how sentence pieces mark the start of a word


def make_text_model(directory: Path, *, seed: int = 0) -> Path:
    """Writes a small ALBERT and its tokenizer, which transformers loads without a network.

    The weights are random: the model has to be trained with the rest.

    Args:
        directory: the folder to fill; made if missing, files of the same name are replaced.
        seed: random seed for the weights.

    Returns:
        directory.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    pieces = _make_pieces()
    _save_tokenizer(directory, pieces)
    _save_model(directory, len(pieces), seed)
    return directory


def _make_pieces() -> list[tuple[str, float]]:
    """The vocabulary: special tokens, the words of the demo sentences, and single characters.

    Words are counted, not learned: training a Unigram runs on several threads and its bytes
    depend on their order.

    Returns:
        Pieces with their log probabilities; the position is the token id.
    """
    counts = _count_words(3000)
    total = sum(counts.values())
    words = [(word, math.log(count / total)) for word, count in sorted(counts.items())]
    # Characters are so unlikely that they only spell words that are not in the vocabulary.
    spelled = [(_SPACE, -9.0), *((character, -15.0) for character in _CHARACTERS)]
    known = dict(words)
    return [(s, 0.0) for s in _SPECIALS] + words + [p for p in spelled if p[0] not in known]


def _count_words(sentences: int) -> Counter[str]:
    """Counts the words and marks of many demo sentences, in lower case."""
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
    """Writes tokenizer.json and its configuration as ALBERT's tokenizer class does."""
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )
    from transformers import PreTrainedTokenizerFast

    ids = {piece: number for number, (piece, _) in enumerate(pieces)}
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=ids["<unk>"], byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Strip(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
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
    """Writes config.json and model.safetensors with weights drawn from the seed."""
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
    # The caller's own stream of random numbers is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        logging.disable_progress_bar()  # a bar for one small file says nothing
        AlbertModel(config).save_pretrained(directory)
        logging.enable_progress_bar()
