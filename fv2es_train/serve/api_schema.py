"""The JSON of the API, field by field: the source of its OpenAPI description."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from fv2es_train.models.decision import Decision, Rule
from fv2es_train.predict.outputs import VideoPrediction
from fv2es_train.predict.rating_scales import RatingScale
from fv2es_train.serve.jobs import ENDED, Job, Jobs, State
from fv2es_train.serve.messages import Part, UtteranceResult
from fv2es_train.serve.run_card import RunCard

_MAX_UTTERANCES = 10_000


class Trouble(BaseModel):
    """Why something failed."""

    sentence: str
    hint: str = Field(description="How to correct it; may be empty.")


class Error(BaseModel):
    """The body of every error response."""

    error: Trouble


class Health(BaseModel):
    """Whether jobs are being run."""

    status: Literal["ok", "loading"]


class ServerLimits(BaseModel):
    """The limits that a client needs to know."""

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
    names: dict[str, str] = Field(description="Class -> its name for people.")
    rule: Rule = Field(description="largest: the most probable class is decided.")
    thresholds: dict[str, float] = Field(description="Of each class, for the rule thresholds.")
    ratings: list[RatingScale] = Field(description="Of the ratings that it predicts.")
    modalities: str = Field(description="Some of t (text), v (video), a (audio).")
    recogniser: str | None = Field(description="The speech recogniser; null if there is none.")
    trained_on: str = Field(description="The opening of the run's model card.")
    not_for: str = Field(description="What the run must not be used for.")
    card: RunCard = Field(description="What the run says of its data, scores and limits.")
    ready: bool
    limits: ServerLimits


class Picture(BaseModel):
    """Size of the picture in pixels."""

    width: int
    height: int


class JobAnswer(BaseModel):
    """A job and its results so far."""

    id: str
    state: State
    video: str
    position: int = Field(description="Number of jobs before it.")
    part: Part
    progress: float
    length_s: float = Field(description="Of the video; 0 if its header has none.")
    picture: Picture | None
    preview: bool = Field(description="Whether preview.webm is available.")
    notes: list[str]
    count: int = Field(description="Utterances so far.")
    first: int = Field(description="Number of the first one in `utterances`.")
    utterances: list[UtteranceResult]
    summary: VideoPrediction | None
    error: Trouble | None
    expires_s: float


class Words(BaseModel):
    """Corrected text."""

    words: dict[str, str | None] = Field(
        description="id -> text; empty: nothing is said, null: unknown. Others keep theirs.",
        max_length=_MAX_UTTERANCES,
    )


def job_answer(job: Job, jobs: Jobs, decision: Decision, after: int = 0) -> JobAnswer:
    """The answer for a job, without its first ``after`` utterances."""
    video, error = job.task.video, job.error
    # A copy: a worker may append to it at any time.
    utterances = list(job.utterances)
    return JobAnswer(
        id=job.id,
        state=job.state,
        video=video.name,
        position=jobs.position(job),
        part=job.part,
        progress=job.progress,
        length_s=video.length_s,
        picture=Picture(width=video.size[0], height=video.size[1]) if video.size else None,
        preview=job.previewed,
        notes=list(job.notes),
        count=len(utterances),
        first=after,
        utterances=utterances[after:],
        summary=job.summary(decision) if job.state in ENDED and utterances else None,
        error=Trouble(sentence=error.sentence, hint=error.hint) if error else None,
        expires_s=jobs.expires_s(job),
    )
