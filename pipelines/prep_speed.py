"""Measures how long this machine takes to prepare a generated dialogue."""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fv2es_prep.demo import make_corpus, make_text_model
from pipelines.build import build_shard
from pipelines.config import prep_config
from pipelines.plan import plan_corpus

_TURNS = 5


@dataclass(frozen=True)
class PrepSpeed:
    """The measurements.

    Attributes:
        cpu_s_per_minute: CPU seconds for a minute of a dialogue of 720x480 pixels, DivX.
        start_s: seconds until the first dialogue was prepared; each worker needs them once.
        film_cpu_s: CPU seconds to generate a dialogue of five turns.
    """

    cpu_s_per_minute: float
    start_s: float
    film_cpu_s: float


def measure_preparation() -> PrepSpeed:
    """Generate two dialogues and prepare them one after the other; takes about ten seconds.

    Raises:
        OutputError: the directory for temporary files cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="fv2es-") as place:
        corpus, out = Path(place) / "corpus", Path(place) / "shards"
        # Without the time to load models, which happens once.
        make_corpus(Path(place) / "other", sessions=1, dialogues=1, turns=1)
        before = _cpu_s()
        make_corpus(corpus, sessions=1, dialogues=2, turns=_TURNS)
        film_s = (_cpu_s() - before) / 2
        tokenizer = str(make_text_model(Path(place) / "albert"))
        # So small that each dialogue gets its own shard.
        given = {"raw": corpus, "out": out, "tokenizer": tokenizer, "shard_mb": 0.1}
        first, second = plan_corpus(prep_config("iemocap", **given)).tasks
        began = time.perf_counter()
        build_shard(first)
        start_s, before = time.perf_counter() - began, _cpu_s()
        build_shard(second)
        minutes = max(utterance.end_s for utterance in second.utterances) / 60
        return PrepSpeed((_cpu_s() - before) / minutes, start_s, film_s)


def _cpu_s() -> float:
    """CPU seconds of this process and its ended children, the decoders."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
