"""Modalities that are chosen, required or missing, from the command to the summary."""

from __future__ import annotations

import pytest

from fv2es_prep.errors import SettingsError, UsageError
from pipelines.plan import plan_corpus


def test_chosen_modalities_decide_the_stages_and_what_is_required(
    corpus, text_model, tmp_path, options_for
):
    def settings(**changes):
        return plan_corpus(options_for(corpus, tmp_path, text_model, **changes), True).settings

    whole = settings()
    assert (whole.stages, whole.require) == (("faces", "mel", "tokens"), "tav")
    assert whole == settings(modalities="vat")
    spoken = settings(modalities="at")
    assert (spoken.stages, spoken.require) == (("mel", "tokens"), "ta")
    assert settings(modalities="v", stages="faces,landmarks,mel").stages == ("faces", "landmarks")
    assert settings(require="none").require == settings(require="").require == ""
    assert settings(require="t").require == "t"
    with pytest.raises(SettingsError, match="none of the stages mel can be made from 'v' alone"):
        settings(modalities="v", stages="mel")
    for odd in ({"modalities": "x"}, {"modalities": ""}, {"require": "video"}):
        with pytest.raises(UsageError, match=rf"{next(iter(odd))} is .* expected some of tav"):
            settings(**odd)
