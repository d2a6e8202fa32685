"""What the API answers, field by field: the source of its OpenAPI description.

Owns the forms of answers and of corrected words. Leaves their content to `jobs` and `task`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, Field

from fv2es_train.predict.outputs import FaceBox
from fv2es_train.serve.jobs import ENDED, Job, Jobs, State

_MOST_WORDS, _LONGEST_WORDS = 10_000, 5_000


class Trouble(BaseModel):
    """Why something failed."""

    sentence: str
    hint: str = Field(description="What to do about it; may be empty.")


class Error(BaseModel):
    """The body of every answer that is an error."""

    error: Trouble


class Health(BaseModel):
    """Whether a job would be worked on."""

    status: Literal["ok", "loading"]


class ServerLimits(BaseModel):
    """How much is admitted."""

    upload_bytes: int
    duration_s: float
    pixels: int
    queue: int
    job_s: float
    keep_s: float


class About(BaseModel):
    """The server and its model."""

    version: str
    run: str = Field(description="Name of the run's directory.")
    model: str
    device: str
    classes: list[str]
    thresholds: dict[str, float]
    modalities: str = Field(description="Some of t (words), v (faces), a (sound).")
    recogniser: str | None = Field(description="What hears the words; null: nothing does.")
    ready: bool
    limits: ServerLimits


class Place(BaseModel):
    """A face at a sampled moment, in fractions of the whole picture."""

    time_s: float
    found: bool
    left: float
    top: float
    width: float
    height: float


class UtteranceAnswer(BaseModel):
    """What the model says of one utterance, or of one face in it."""

    id: str
    start_s: float
    end_s: float
    text: str | None = Field(description="Its words; null where they are not known.")
    text_from: Literal["transcript", "asr", ""]
    speaker: str
    view: str
    faces_seen: int
    faces_found: int
    used: str = Field(description="The modalities that were used.")
    missing: dict[str, str] = Field(description="Letter of each other modality -> why.")
    probability: dict[str, float]
    decided: list[str] = Field(description="Classes above the run's thresholds.")
    contribution: dict[str, dict[str, float]] = Field(
        description="class -> letter -> that modality's term of the logit; the terms add up to it."
    )
    boxes: list[FaceBox] = Field(description="In pixels of the view.")
    seconds: dict[str, float]
    top: str
    places: list[Place]
    faces: list[str] = Field(description="Pictures that the model saw, as data: addresses.")


class Summary(BaseModel):
    """What the model says of the whole video."""

    video: str
    scored: int
    unscored: int
    spoken_s: float
    probability: dict[str, float]
    share: dict[str, float]
    decided: list[str]
    thresholds: dict[str, float]
    notes: list[str]
    top: str


class Picture(BaseModel):
    """Size of the picture in pixels."""

    width: int
    height: int


class JobAnswer(BaseModel):
    """A job as far as it is done."""

    id: str
    state: State
    video: str
    position: int = Field(description="How many jobs begin before it.")
    part: Literal["", "speech", "utterances", "preview"]
    progress: float
    length_s: float = Field(description="Of the video; 0 where it announces none.")
    picture: Picture | None
    preview: bool = Field(description="Whether preview.webm can be fetched.")
    notes: list[str]
    count: int = Field(description="Utterances so far.")
    first: int = Field(description="Number of the first one in `utterances`.")
    utterances: list[UtteranceAnswer]
    summary: Summary | None
    error: Trouble | None
    expires_s: float


class Words(BaseModel):
    """Corrected words."""

    words: dict[str, str | None] = Field(
        description="id -> words; empty: nothing is said, null: not known. Others keep theirs.",
        max_length=_MOST_WORDS,
    )


def job_json(job: Job, jobs: Jobs, thresholds: dict[str, float], after: int = 0) -> dict[str, Any]:
    """A job as `JobAnswer` has it.

    Args:
        job: the job.
        jobs: all of them.
        thresholds: of the run.
        after: the utterances before this one are left out.
    """
    task = job.task
    size = task.size
    # One list: others may grow while we look.
    told = list(job.told)
    return {
        "id": job.id,
        "state": job.state,
        "video": task.name,
        "position": jobs.position(job),
        "part": job.part,
        "progress": job.progress,
        "length_s": task.length_s,
        "picture": {"width": size[0], "height": size[1]} if size else None,
        "preview": job.previewed,
        "notes": list(job.notes),
        "count": len(told),
        "first": after,
        "utterances": [one.to_json() for one in told[after:]],
        "summary": asdict(job.summary(thresholds)) if job.state in ENDED and told else None,
        "error": None
        if job.error is None
        else {"sentence": job.error.sentence, "hint": job.error.hint},
        "expires_s": jobs.expires_s(job),
    }
