"""The stage ``faces``: the speaker's face in each sampled picture.

Owns its columns, its compact form (JPEG files) and its invariants. JPEG is lossy, so faces are
encoded once, and training reads the decoded files.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fv2es_prep.config import FrameSettings, PrepSettings, StorageSettings
from fv2es_prep.errors import REBUILD_HINT, ShardError
from fv2es_prep.stages.base import Check, Column, Pictures, Stage
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.stages.stage_rows import StageRows
from fv2es_prep.types import Faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.detectors.detector import Face, FaceDetector

# Bytes of a face's JPEG file per pixel, measured at quality 95 on faces of 48 x 48.
_JPEG_BYTES = 0.8
# Times are whole microseconds.
_ROUNDING_S = 3e-6
_DRAWN, _GAP_PX = 12, 4
# Side where there are no faces.
_EMPTY_PX = 48
_FIELDS = ("times_s", "found", "box", "prob")


class JpegFaces(Faces):
    """Faces as JPEG files, decoded on first access to ``rgb``.

    Args:
        files: uint8 (B,), the files of all faces end to end.
        sizes: uint32 (F,), bytes of each file.
        side_px: side of a face.
        others: ``times_s``, ``found``, ``box`` and ``prob`` of `Faces`.
        place: where the files come from, for messages.

    Raises:
        ShardError: on access to ``rgb``, if a file cannot be decoded.
    """

    files: NDArray[np.uint8]
    sizes: NDArray[np.uint32]
    side_px: int
    place: str

    def __init__(
        self,
        files: NDArray[np.uint8],
        sizes: NDArray[np.uint32],
        side_px: int,
        others: Mapping[str, NDArray[Any]],
        place: str = "",
    ) -> None:
        # Faces is frozen, and its constructor would decode the pixels.
        vars(self).update(others, files=files, sizes=sizes, side_px=side_px, place=place)

    @functools.cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """uint8 (F, S, S, 3), colour order RGB."""
        pixels = np.empty((len(self.sizes), self.side_px, self.side_px, 3), np.uint8)
        end = 0
        for face, size in zip(pixels, self.sizes.tolist(), strict=True):
            begin, end = end, end + size
            face[:] = self._decoded(self.files[begin:end])
        return pixels

    def _decoded(self, file: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import cv2

        try:
            bgr = cv2.imdecode(file, cv2.IMREAD_COLOR)
        except cv2.error:
            bgr = None
        shape = (self.side_px, self.side_px, 3)
        if bgr is None or bgr.shape != shape:
            found = "unreadable" if bgr is None else f"of {bgr.shape}"
            raise ShardError(
                f"{self.place} is damaged: a JPEG file is {found}, expected {shape}", REBUILD_HINT
            )
        rgb: NDArray[Any] = bgr[..., ::-1]
        return rgb


def stored_faces(faces: Faces, storage: StorageSettings) -> Faces:
    """Faces in their stored form; JPEG has the full resolution of colour (4:4:4)."""
    if storage.faces == "raw" or isinstance(faces, JpegFaces):
        return faces
    import cv2

    options = (
        *(cv2.IMWRITE_JPEG_QUALITY, storage.jpeg_quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        # Huffman tables of the face's own: a fifth of so small a file.
        *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    )
    files = [
        cv2.imencode(".jpg", np.ascontiguousarray(face[..., ::-1]), options)[1].ravel()
        for face in faces.rgb
    ]
    sizes = np.array([len(file) for file in files], np.uint32)
    joined = np.concatenate([np.zeros(0, np.uint8), *files])
    return JpegFaces(joined, sizes, faces.rgb.shape[1], _others(faces))


def _others(faces: Faces) -> dict[str, NDArray[Any]]:
    return {name: getattr(faces, name) for name in _FIELDS}


def largest_faces(pictures: Pictures, detector: FaceDetector) -> list[Face]:
    """The largest face of each picture; stages that share the pictures detect once."""
    if "largest_faces" not in pictures.shared:
        pictures.shared["largest_faces"] = detector.largest(pictures.rgb)
    faces: list[Face] = pictures.shared["largest_faces"]
    return faces


@dataclass(frozen=True)
class SeenFaces:
    """All faces of some pictures, before the speaker is selected over the whole utterance.

    Attributes:
        faces: the faces of each picture, largest first.
        fallbacks: the replacement of the speaker's face in each picture.
    """

    times_s: Sequence[float]
    faces: Sequence[Sequence[Face]]
    fallbacks: Sequence[Face]

    @classmethod
    def of(cls, pictures: Pictures, detector: FaceDetector) -> Self:
        """Detect all faces; stages that share the pictures detect once."""
        if "seen_faces" not in pictures.shared:
            fallbacks = [detector.fallback(rgb) for rgb in pictures.rgb]
            seen = cls(pictures.times_s, detector.every(pictures.rgb), fallbacks)
            pictures.shared["seen_faces"] = seen
        found: Self = pictures.shared["seen_faces"]
        return found

    @classmethod
    def speaker(cls, parts: Sequence[SeenFaces]) -> list[Face]:
        """The speaker's face, or the fallback, in each picture of an utterance."""
        from fv2es_prep.detectors.tracks import speaker_track

        track = speaker_track([faces for part in parts for faces in part.faces])
        fallbacks = [face for part in parts for face in part.fallbacks]
        return [track.get(number, fallback) for number, fallback in enumerate(fallbacks)]


def crop_faces(pictures: Pictures, detector: FaceDetector) -> Faces:
    """The largest face of each picture, or the fallback."""
    side = detector.settings.image_size_px
    return _columns(largest_faces(pictures, detector), pictures.times_s, side)


def _columns(faces: Sequence[Face], times_s: Sequence[float], side_px: int) -> Faces:
    return Faces(
        rgb=np.array([face.rgb for face in faces], np.uint8).reshape(-1, side_px, side_px, 3),
        times_s=np.array(times_s, np.float64),
        found=np.array([face.found for face in faces], np.bool_),
        box=np.array([face.box for face in faces], np.float32).reshape(-1, 4),
        prob=np.array([face.prob for face in faces], np.float32),
    )


def _contradicting(rows: StageRows) -> NDArray[np.bool_]:
    found, prob, box = rows["found"], rows["prob"], rows["box"]
    side = rows.settings.faces.image_size_px
    bad = (found > 1) | ~((prob >= 0) & (prob <= 1)) | ~np.isfinite(box).all(axis=1)
    centre = (prob == 0) & (box[:, 2] - box[:, 0] == side) & (box[:, 3] - box[:, 1] == side)
    return rows.any(bad | ((found == 0) & ~centre))


def _not_on_time(rows: StageRows) -> NDArray[np.bool_]:
    times, offsets, frames = rows["times_s"], rows.offsets, rows.settings.frames
    starts, ends = (rows.shard(name).tolist() for name in ("start_s", "end_s"))
    bad = rows.lengths < 1
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        found = times[offsets[i] : offsets[i + 1]].tolist()
        bad[i] |= bool(found) and not (found[-1] < round(end, 6) and _on_time(found, start, frames))
    return bad


def _on_time(times: list[float], start_s: float, frames: FrameSettings) -> bool:
    """Whether the times follow the frame rule."""
    places = range(len(times))
    if frames.rule == "time":
        return times == [round(start_s + k * frames.interval_s, 6) for k in places]
    if frames.rule == "thinned":
        return times == [(int(2 * start_s) + k * frames.step) / 2 for k in places]
    # The frame rate is not stored, so only equal distances are checked.
    each_s = (times[-1] - times[0]) / max(len(times) - 1, 1)
    even = all(abs(times[0] + k * each_s - times[k]) < _ROUNDING_S for k in places)
    return even and each_s >= 0 and start_s - 1 < times[0] < start_s + _ROUNDING_S


class FacesStage(Stage):
    """Faces found by MTCNN and cut to small squares."""

    name, needs, noun, symbol, section = "faces", ("video",), "faces", "ΣF", "faces"
    drawn_height = 1
    checks = (
        Check("I10", "faces are missing, or have other times than expected", _not_on_time),
        Check("I11", "found, prob and box of a face contradict each other", _contradicting),
    )

    def columns(self, settings: PrepSettings) -> tuple[Column, ...]:
        side = settings.faces.image_size_px
        if settings.storage.faces == "jpeg":
            values: tuple[Column, ...] = (
                Column("values", "bytes", "|u1", (), "byte", "a JPEG file for each face"),
                Column("sizes", "ragged", "<u4", (), "byte", "bytes of each face's file"),
            )
        else:
            values = (
                Column("values", "ragged", "|u1", (side, side, 3), "grey level", "RGB face crops"),
            )
        return (
            *values,
            Column("times_s", "ragged", "<f8", (), "s", "the sampled moment in the recording"),
            Column(
                "found", "ragged", "|u1", (), "", "0: the view's centre stands in", counted=True
            ),
            Column("box", "ragged", "<f4", (4,), "px", "left, top, right, bottom in the view"),
            Column("prob", "ragged", "<f4", (), "", "detector's probability, 0 if not found"),
        )

    def load(self, context: StageContext) -> Callable[[Pictures], Faces | SeenFaces]:
        if context.settings.faces.select == "track":
            return lambda pictures: SeenFaces.of(pictures, context.detector)
        return lambda pictures: crop_faces(pictures, context.detector)

    def batch(self, context: StageContext) -> int:
        return context.detector.batch

    def join(self, parts: Sequence[Any]) -> Faces:
        if isinstance(parts[0], SeenFaces):
            faces, times_s = SeenFaces.speaker(parts), [t for part in parts for t in part.times_s]
            return _columns(faces, times_s, len(faces[0].rgb) if faces else _EMPTY_PX)
        fields = ("rgb", *_FIELDS)
        return Faces(*(np.concatenate([getattr(part, n) for part in parts]) for n in fields))

    def store(self, value: Faces, settings: PrepSettings) -> Faces:
        return stored_faces(value, settings.storage)

    def encode(self, value: Faces) -> dict[str, Any]:
        if isinstance(value, JpegFaces):
            return {"values": value.files, "sizes": value.sizes, **_others(value)}
        return self.arrays(value)

    def decode(self, columns: Mapping[str, Any], settings: PrepSettings, place: str) -> Faces:
        values, times_s, found = columns["values"], columns["times_s"], columns["found"]
        box, prob = columns["box"], columns["prob"]
        if found.dtype.kind != "b":
            found = found.astype(np.bool_)
        if settings.storage.faces == "raw":
            return Faces.of_rows(values, times_s, found, box, prob)
        others = {"times_s": times_s, "found": found, "box": box, "prob": prob}
        return JpegFaces(values, columns["sizes"], settings.faces.image_size_px, others, place)

    def arrays(self, value: Faces) -> dict[str, Any]:
        return {"values": value.rgb, **_others(value)}

    def form(self, storage: StorageSettings) -> list[Any]:
        return ["raw"] if storage.faces == "raw" else [storage.faces, storage.jpeg_quality]

    def problem(self, value: Mapping[str, Any], settings: PrepSettings) -> tuple[str, str] | None:
        try:
            _ = self.decode(value, settings, "a face").rgb
        except ShardError as error:
            return "I25", error.sentence
        return None

    def expected_bytes(self, duration_s: float, settings: PrepSettings) -> int:
        pixels = settings.faces.image_size_px**2
        raw = settings.storage.faces == "raw"
        face = 3 * pixels if raw else round(_JPEG_BYTES * pixels)
        return settings.frames.count(duration_s) * face

    def lines(self, value: Faces) -> list[str]:
        rows = zip(value.times_s, value.found, value.prob, strict=True)
        each = [f"{t:.2f} s {f'prob {p:.3f}' if found else 'no face'}" for t, found, p in rows]
        return [f"{int(value.found.sum())} found of {len(each)}", *each]

    def draw(self, axes: Any, value: Faces, start_s: float) -> None:
        shown = min(len(value.rgb), _DRAWN)
        gap = np.full((value.rgb.shape[1], _GAP_PX, 3), 255, np.uint8)
        strip = np.concatenate([p for face in value.rgb[:shown] for p in (face, gap)], axis=1)
        axes.imshow(strip, interpolation="nearest", aspect="equal")
        side = value.rgb.shape[1] + _GAP_PX
        names = [
            f"{t:.1f} s" if found else f"{t:.1f} s\nno face"
            for t, found in zip(value.times_s[:shown] - start_s, value.found[:shown], strict=True)
        ]
        axes.set_xticks([side * i + side / 2 for i in range(shown)], names, fontsize=8)
        axes.set_yticks([])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)


FACES = FacesStage()
