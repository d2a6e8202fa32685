from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from fv2es_prep.config import TextSettings
from fv2es_prep.errors import SettingsError, TokenizerError
from fv2es_prep.stages import tokens
from fv2es_prep.stages.tokens import copy_tokenizer, describe_tokenizer, load_tokenizer, tokenize


def test_tokens_are_the_tokenizers_own(text_model):
    settings = describe_tokenizer(str(text_model), 100)
    ids = tokenize("I am so happy: look!", str(text_model), settings)
    own = AutoTokenizer.from_pretrained(text_model)
    assert ids.dtype == np.int32
    assert ids.tolist() == own("I am so happy: look!")["input_ids"]
    assert settings.vocabulary_size == len(own)
    assert settings.pad_id == own.pad_token_id
    assert len(tokenize("", str(text_model), settings)) == 2


def test_long_transcripts_are_cut_with_their_closing_token(text_model):
    settings = describe_tokenizer(str(text_model), 8)
    ids = tokenize("happy " * 50, str(text_model), settings)
    assert len(ids) == 8
    assert ids[-1] == tokenize("", str(text_model), settings)[-1]
    with pytest.raises(SettingsError, match="max_tokens is 1"):
        describe_tokenizer(str(text_model), 1)


def test_a_tokenizer_is_known_by_content_and_not_by_path(text_model, tmp_path):
    settings = describe_tokenizer(str(text_model), 100)
    assert str(text_model.parent) not in str(settings)
    other = dataclasses.replace(settings, vocabulary_sha256="0" * 64)
    with pytest.raises(TokenizerError, match="expected 000000000000"):
        tokenize("hello", str(text_model), other)


def test_a_plain_tokenizer_is_described_without_transformers(text_model, tmp_path):
    code = (
        "import sys; from fv2es_prep.stages.tokens import describe_tokenizer\n"
        f"print(describe_tokenizer({str(text_model)!r}, 100))\n"
        "assert 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    whole = load_tokenizer(str(text_model))
    settings = describe_tokenizer(str(text_model), 100)
    assert done.stdout.strip() == str(settings)
    assert tokens._plain(text_model) is not None
    assert (settings.vocabulary_size, settings.pad_id) == (len(whole), whole.pad_token_id)
    assert settings.vocabulary_sha256 == tokens._digest(whole.backend_tokenizer)

    # transformers adds the padding token when it reads this one.
    words = Tokenizer(WordLevel({"[UNK]": 0, "happy": 1}, "[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "pad_token": "[PAD]"}))
    assert tokens._plain(tmp_path) is None
    assert describe_tokenizer(str(tmp_path), 100).pad_id == 2


def test_a_tokenizer_whose_ids_have_gaps_is_refused(tmp_path):
    words = WordLevel({"[UNK]": 0, "happy": 70_000}, "[UNK]")
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words)).save_pretrained(tmp_path)
    settings = describe_tokenizer(str(tmp_path), 100)
    assert tokenize("sad", str(tmp_path), settings).tolist() == [0]
    with pytest.raises(TokenizerError, match="gives the id 70000, but has only 2 ids"):
        tokenize("happy", str(tmp_path), settings)


def test_a_tokenizers_files_do_not_depend_on_what_was_tokenized(text_model, tmp_path):
    name = str(text_model)
    load_tokenizer.cache_clear()
    copy_tokenizer(name, tmp_path / "before")
    cut = tokenize("One two three four.", name, describe_tokenizer(name, 4))
    copy_tokenizer(name, tmp_path / "after")
    files = [sorted((tmp_path / place).iterdir()) for place in ("before", "after")]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    again = tokenize("One two three four.", name, describe_tokenizer(name, 4))
    assert again.tolist() == cut.tolist() and len(cut) == 4


def test_a_tokenizer_that_cannot_be_had_is_told_with_what_to_pass_instead():
    with pytest.raises(TokenizerError, match="is not a local directory") as error:
        describe_tokenizer("albert-base-v2-that-is-nowhere", 100)
    assert "--tokenizer albert" in error.value.hint


def test_a_directory_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(TokenizerError, match="the tokenizer .* cannot be read"):
        describe_tokenizer(str(tmp_path), 100)


def test_the_default_is_the_published_tokenizer():
    assert TextSettings().tokenizer == "albert-base-v2"
    assert TextSettings().max_tokens == 100
