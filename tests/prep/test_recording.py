from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fv2es_prep.config import FrameSettings
from fv2es_prep.corpora import iemocap
from fv2es_prep.corpora.iemocap import LABELS
from fv2es_prep.corpora.inventory import LabelChoice
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.media.view import cut_view
from tests.prep.conftest import frames_at


@pytest.fixture(scope="module")
def dialogue(corpus):
    inventory = iemocap.scan(corpus, LabelChoice((*LABELS, "xxx", "oth")))
    recording = inventory.recordings[0]
    return recording, [u for u in inventory.utterances if u.recording_id == recording.id]


def test_utterances_that_overlap_get_their_own_frames_and_views(dialogue):
    recording, utterances = dialogue
    starts = [(u.start_s, u.end_s) for u in utterances]
    assert any(b[0] < a[1] for a, b in pairwise(starts)), "no overlap"
    with OpenRecording(recording, utterances, FrameSettings()) as source:
        found = {u.id: list(source.frames(u)) for u in utterances}
    for utterance in utterances:
        times = [time_s for time_s, _ in found[utterance.id]]
        expected = np.arange(utterance.start_s, utterance.end_s, 0.5)
        assert np.allclose(times, expected, atol=1e-6)
        alone = {i: cut_view(rgb, utterance.view) for i, rgb in frames_at(recording.video, times)}
        for place, (_, rgb) in enumerate(found[utterance.id]):
            assert np.array_equal(rgb, alone[place])


def test_sound_and_pictures_may_be_left_untaken(dialogue):
    recording, utterances = dialogue
    with OpenRecording(recording, utterances, FrameSettings()) as source:
        whole = [source.waveform(u).samples for u in utterances]
    with OpenRecording(recording, utterances, FrameSettings()) as source:
        last = utterances[-1]
        assert np.array_equal(source.waveform(last).samples, whole[-1])
        frames = list(source.frames(last))
    assert len(frames) == len(np.arange(last.start_s, last.end_s, 0.5))
