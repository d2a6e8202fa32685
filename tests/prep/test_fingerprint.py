from fv2es_prep.config import PrepSettings
from fv2es_prep.stages.fingerprint import fingerprints_of
from fv2es_prep.types import Utterance


def test_a_start_that_was_clamped_to_zero_is_the_same_as_a_number_of_either_type():
    settings, hashes = PrepSettings(), ("video", "audio")
    whole = Utterance("a", "r", 0, 1.5, "words", (), clamped=True)
    read_back = Utterance("a", "r", 0.0, 1.5, "words", (), clamped=True)
    assert fingerprints_of(whole, hashes, settings) == fingerprints_of(read_back, hashes, settings)


def test_an_utterance_that_begins_elsewhere_has_other_media_and_the_same_tokens():
    settings, hashes = PrepSettings(), ("video", "audio")
    one, other = (
        fingerprints_of(Utterance("a", "r", start_s, 1.5, "words", ()), hashes, settings)
        for start_s in (0.0, 0.5)
    )
    assert {name for name in one if one[name] != other[name]} == {"faces", "mel"}
