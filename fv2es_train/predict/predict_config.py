"""The configuration of `fv2es predict`: its options and its file. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fv2es_prep.errors import UsageError

FaceChoice = Literal["largest", "all"]
Form = Literal["table", "json", "csv", "srt"]


@dataclass(frozen=True)
class SpanRules:
    """How detected speech is cut into utterances.

    Attributes:
        shortest_s: shorter speech is dropped, in seconds.
        longest_s: longer speech is cut where speech is least probable, in seconds.
        silence_s: shortest pause that ends an utterance, in seconds.
        pad_s: padding before and after the speech of an utterance, in seconds.
        fixed_s: length of the spans of a video without speech, in seconds.
    """

    shortest_s: float = 0.5
    longest_s: float = 15.0
    silence_s: float = 0.3
    pad_s: float = 0.1
    fixed_s: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.shortest_s < self.longest_s or not self.fixed_s > 0:
            raise UsageError(
                f"the shortest utterance is {self.shortest_s} s and the longest {self.longest_s} s",
                "both must be above 0, and the shortest below the longest",
            )


DEFAULT_RULES = SpanRules()


@dataclass(frozen=True)
class PredictConfig:
    """Videos to score, with which run, and what to write.

    Attributes:
        videos: Video files, or folders of them.
        run: Directory of the run.
        sound: Audio file if the audio is not in the video; for one video.
        spans: Spans of the utterances: JSON or CSV with start_s, end_s; for one video.
        transcript: Transcript: srt, vtt, plain text or a corpus's own format; for one video.
        asr: Speech recogniser: a directory, a hub name, embedded or none.
        tokenizer: Tokenizer of the shards, a directory or hub name, if it was moved.
        views: View of each speaker: HALF[:SIDE[:CHANNEL]], e.g. left:224:0; or the name of a corpus
            for the view of each span's id.
        faces: Score the largest face, or all faces, each on its own.
        form: What is printed.
        plot: Write the timeline as PNG; a folder for several videos.
        video: Write an annotated video as MP4; a folder for several videos.
        device: Device: auto, cpu, cuda or cuda:N.
        rules: how detected speech is cut.
    """

    videos: tuple[Path, ...]
    run: Path
    sound: Path | None = None
    spans: Path | None = None
    transcript: Path | None = None
    asr: str | None = None
    tokenizer: str | None = None
    views: tuple[str, ...] = ("full",)
    faces: FaceChoice = "largest"
    form: Form = "table"
    plot: Path | None = None
    video: Path | None = None
    device: str = "auto"
    rules: SpanRules = DEFAULT_RULES
