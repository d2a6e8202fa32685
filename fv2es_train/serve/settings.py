"""Options and limits of the server, with their defaults; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from fv2es_prep.config import MediaSettings
from fv2es_prep.errors import UsageError
from fv2es_train.engines.choice import Engine, Precision

MIB = 1 << 20
# Fewer bytes are no progress of a body; one without progress for so long can lose its room.
MIN_PROGRESS, STALLED_S = 1 << 14, 2.0


@dataclass(frozen=True)
class Limits:
    """Limits of uploads, jobs and results.

    Attributes:
        upload_bytes: size of an upload, including all of its parts.
        text_bytes: size of a transcript, of a list of spans, or of corrected text.
        duration_s: length of a video in seconds.
        pixels: width times height of a picture.
        least_px: minimum width and height of a picture in pixels.
        spans: utterances of one video, counted for each view.
        span_s: length of an utterance in seconds.
        held_bytes: memory for pictures of overlapping spans.
        queue: waiting jobs.
        job_s: run time of a job in seconds.
        upload_s: duration of an upload in seconds.
        pause_s: seconds in which an upload must bring 16 KiB, or its end, and in which a client
            must take what is sent.
        header_s: seconds in which an open connection must bring the headers of a request.
        connections: open connections; the one that waits longest makes room for a new one.
        connections_per_address: open connections of an IPv4 address or an IPv6 /64 network.
        uploads: concurrent uploads of full size; more smaller ones are accepted. If their bytes
            exceed that, stalled uploads are closed.
        uploads_per_address: the same for an IPv4 address or an IPv6 /64 network.
        keep_s: seconds for which the result of a job is kept.
        kept: results that are kept; the oldest is removed first.
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
    header_s: float = 10.0
    connections: int = 512
    connections_per_address: int = 256
    uploads: int = 8
    uploads_per_address: int = 4
    keep_s: float = 3600.0
    kept: int = 64

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UsageError(
                    f"the limit {name} is {value}, expected more than 0", "pass a higher limit"
                )

    @property
    def media(self) -> MediaSettings:
        """The limits of decoding; a stalled decoder is stopped soon."""
        return MediaSettings(self.pixels, self.duration_s, stall_s=20.0, time_factor=2.0)


@dataclass(frozen=True)
class ServeConfig:
    """Options of `fv2es serve`.

    Attributes:
        run: directory of the run.
        host: address to listen on.
        port: port to listen on; 0 for any free one.
        token: token that requests must send; None to accept every request.
        names: further host names of the server, such as a proxy's.
        device: device of the model.
        engine: library that runs the encoders on a CPU: torch or openvino. auto takes OpenVINO for
            the sound of fv2es.
        precision: precision of the encoders on a CPU. bfloat16 is faster and changes
            probabilities; it needs OpenVINO and a CPU with instructions for it.
        threads: torch threads of each worker; None for torch's default.
        workers: worker processes, each with its own model.
        tokenizer: directory or hub name of the tokenizer, if it was moved.
        encoders: encoder of a stage that the run reads, if it was moved: KIND:ALIAS=NAME_OR_DIR,
            e.g. audio:w=DIR for the stage audio-w, or faces:FILE for YuNet; repeatable.
        asr: speech recogniser, see `predict.recognisers.load_recogniser`.
        temporary: directory of the private workspace; None for the system's.
        limits: limits of uploads, jobs and results.
    """

    run: Path
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 7860
    token: str | None = field(default=None, metadata={"derived": True})
    names: tuple[str, ...] = ()
    device: str = "auto"
    engine: Engine = "auto"
    precision: Precision = "float32"
    threads: int | None = None
    workers: int = 1
    tokenizer: str | None = None
    encoders: tuple[str, ...] = ()
    asr: str | None = None
    temporary: Path | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(
                f"workers is {self.workers}, expected 1 or more", "pass --workers 1 or more"
            )
        if self.threads is not None and self.threads < 1:
            raise UsageError(
                f"threads is {self.threads}, expected 1 or more", "pass --threads 1 or more"
            )
        if self.token is not None and len(self.token) < 8:
            raise UsageError("the token has fewer than 8 characters", "choose a longer token")

    @property
    def is_public(self) -> bool:
        """Whether other machines can reach the server."""
        if self.host == "localhost":
            return False
        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return True
