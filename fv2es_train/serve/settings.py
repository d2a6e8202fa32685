"""What a server is asked to be, and how much it may be asked for.

Owns the options and limits with their defaults; imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from fv2es_prep.config import MediaSettings
from fv2es_prep.errors import UsageError

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much one upload, one job and all of them may take.

    Attributes:
        upload_bytes: size of an upload, everything in it.
        text_bytes: size of a transcript, of a list of spans, or of corrected words.
        duration_s: length of a video in seconds.
        pixels: of one picture, width times height.
        least_px: width and height of the smallest picture.
        spans: utterances of one video, counted for each view.
        span_s: length of an utterance in seconds.
        held_bytes: pictures that are held for spans that overlap.
        queue: jobs that wait; one more is refused.
        job_s: seconds that a job may work.
        upload_s: seconds that an upload may take.
        pause_s: seconds within which the next bytes of an upload must come.
        keep_s: seconds for which the result of a job is kept.
        kept: results that are kept; the oldest goes first.
    """

    upload_bytes: int = 2048 * MIB
    text_bytes: int = 2 * MIB
    duration_s: float = 3600.0
    pixels: int = 4096 * 2304
    least_px: int = 16
    spans: int = 5000
    span_s: float = 120.0
    held_bytes: int = 1024 * MIB
    queue: int = 8
    job_s: float = 1800.0
    upload_s: float = 900.0
    pause_s: float = 30.0
    keep_s: float = 3600.0
    kept: int = 64

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UsageError(f"the limit {name} is {value}", "a limit is above 0")

    @property
    def media(self) -> MediaSettings:
        """The same as limits of decoding; a decoder that says nothing is given up soon."""
        return MediaSettings(self.pixels, self.duration_s, stall_s=20.0, time_factor=2.0)


@dataclass(frozen=True)
class ServeOptions:
    """What `fv2es serve` is asked to be.

    Attributes:
        run: directory of the run.
        host: address to listen at.
        port: port to listen at.
        token: who does not send it is refused; None admits everybody.
        names: further host names under which it may be asked, such as a proxy's.
        device: where the model computes.
        threads: of each worker; None leaves it to torch.
        workers: processes that score, each with a model of its own.
        tokenizer: directory or name, where the settings' name leads nowhere.
        asr: see `predict.words.recogniser`.
        temporary: where the private folder for uploads is made; None: the system's place.
        limits: how much it may be asked for.
    """

    run: Path
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 7860
    token: str | None = field(default=None, metadata={"derived": True})
    names: tuple[str, ...] = ()
    device: str = "auto"
    threads: int | None = None
    workers: int = 1
    tokenizer: str | None = None
    asr: str | None = None
    temporary: Path | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"there are {self.workers} workers", "pass --workers 1 or more")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"there are {self.threads} threads", "pass --threads 1 or more")
        if self.token is not None and len(self.token) < 8:
            raise UsageError("the token has fewer than 8 characters", "take a longer one")

    @property
    def open_to_others(self) -> bool:
        """Whether other machines can reach it."""
        if self.host == "localhost":
            return False
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return True
