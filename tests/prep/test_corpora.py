"""What every corpus offers, and what of it a dataset stores."""

from __future__ import annotations

from dataclasses import fields

import pytest

from fv2es_prep.config import PrepSettings
from fv2es_prep.corpora import CORPORA, PUBLISHED, corpus_of
from fv2es_prep.corpora.base import stored_options
from fv2es_prep.corpora.mosei import MoseiOptions
from fv2es_prep.corpora.processed import ProcessedOptions
from fv2es_prep.errors import SettingsError, UsageError
from fv2es_prep.utils.fields import docs_of

# What formats 1.0 and 1.1 store for every corpus.
OLD = {"layout": "", "label_source": "", "label_threshold": 0.0, "picture": "whole"}


@pytest.mark.parametrize("name", CORPORA.names())
def test_a_corpus_is_found_by_its_name_and_documents_its_options(name):
    corpus = CORPORA.load(name)
    assert corpus.name == name
    assert corpus_of(name) is corpus_of(f"other-{name}") is corpus
    assert docs_of(corpus.options).keys() == {f.name for f in fields(corpus.options)}


def test_an_unknown_corpus_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(UsageError, match="unknown corpus 'nowhere'") as error:
        corpus_of("nowhere")
    assert PUBLISHED in error.value.hint


@pytest.mark.parametrize(
    ("name", "options", "stored"),
    [
        ("mosei", MoseiOptions(), {}),
        ("mosei", MoseiOptions("csd", picture="published"), None),
        ("processed", ProcessedOptions("mosei"), {"layout": "mosei"}),
    ],
)
def test_options_are_stored_where_they_differ_and_are_read_back(name, options, stored):
    found = stored_options(options)
    assert found == ({"label_source": "csd", "picture": "published"} if stored is None else stored)
    assert CORPORA.load(name).read_options(found) == options


def test_settings_of_earlier_formats_are_read_as_the_options_of_their_corpus():
    for name, said in (("table", {}), ("mosei", {"label_source": "csd", "label_threshold": 1.0})):
        settings = PrepSettings.from_json({"corpus": {**OLD, **said}})
        assert settings == PrepSettings(corpus=said)
        options = CORPORA.load(name).read_options(OLD | said)
        assert stored_options(CORPORA.load(name).read_options(settings.corpus)) == said
        assert name == "table" or options.label_threshold == 1.0


def test_a_required_option_that_is_not_stored_is_named():
    with pytest.raises(SettingsError, match="layout"):
        CORPORA.load("processed").read_options({})


def test_settings_that_differ_are_named_by_their_paths():
    one, other = PrepSettings(corpus={"label_source": "csd"}), PrepSettings()
    assert one.differences(other) == {"corpus.label_source": ("csd", None)}
    assert one.differences(one) == {}
