"""Each error is one printable sentence of at most 500 characters, whatever it quotes."""

from __future__ import annotations

import pickle

import pytest

from fv2es_prep.errors import (
    DropReason,
    Fv2esError,
    MediaError,
    ShardError,
    one_sentence,
    words_of,
)

KINDS = ("x" * 20_000_000, "a\n" * 300, "\x1b[2J" * 200, "\0" * 600, "\udcff" * 600, "é" * 501)


@pytest.mark.parametrize("text", KINDS, ids=["long", "lines", "escapes", "nulls", "bytes", "501"])
def test_a_sentence_is_cut_in_its_middle(text: str) -> None:
    error = ShardError(f"index.json is damaged: {text}; expected JSON", "prepare it again")
    assert len(error.sentence) <= 500 and error.sentence.isprintable()
    assert error.sentence.startswith("index.json is damaged: ")
    assert error.sentence.endswith("; expected JSON")
    assert error.sentence.encode("utf-8")
    assert len(repr(error)) < 3000


@pytest.mark.parametrize("text", KINDS, ids=["long", "lines", "escapes", "nulls", "bytes", "501"])
def test_a_quoted_error_is_cut_in_the_same_way(text: str) -> None:
    for error in (ValueError(text), ShardError(text), OSError(5, text, "/some/path")):
        assert words_of(error) == one_sentence(words_of(error), 200)
        assert words_of(error).isprintable()
    assert words_of(ValueError()) == "ValueError"
    assert words_of(FileNotFoundError(2, "No such file", "/some/path")) == "No such file"


def test_a_short_sentence_stays() -> None:
    text = "the file 'Über  uns.mp4' has 3 pictures; “expected” 4 × Σ"
    assert one_sentence(text) == text
    assert one_sentence(one_sentence("a" * 900)) == one_sentence("a" * 900)


def test_an_error_crosses_processes() -> None:
    for error in (
        MediaError("m" * 900, DropReason.NO_FACE, "h"),
        Fv2esError("s\nt", "h"),
    ):
        twin = pickle.loads(pickle.dumps(error))
        assert (type(twin), twin.sentence, twin.hint) == (type(error), error.sentence, "h")
