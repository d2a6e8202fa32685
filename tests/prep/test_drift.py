"""Sessions whose classes are distributed unlike those of all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.suspects.drift import drifting_sessions
from tests.prep.suspicious import CLASSES, make_examples, write_examples


def test_a_session_of_other_classes_drifts_and_chance_does_not(tmp_path):
    catalogue = read_catalogue(write_examples(tmp_path / "shards", make_examples(160)))
    assert drifting_sessions(catalogue) == []
    label = catalogue.label.copy()
    own = np.flatnonzero(catalogue.sessions.codes == 1)
    label[own[: len(own) * 3 // 4]] = np.eye(len(CLASSES), dtype=np.uint8)[0]
    vars(catalogue)["label"] = label
    # The farthest comes first; the others have fewer of that class than all.
    drift, *_ = drifting_sessions(catalogue)
    assert (drift.session, drift.utterances, drift.most) == ("1", len(own), CLASSES[0])
    assert drift.share > drift.usual and drift.chance < 0.01 and drift.distance > 0.1
    assert replace(drift, session="9").sentence().startswith(f"session 9 ({len(own)} utterances)")
