"""The stages, built in or of installed packages (``fv2es.stages``), and what they load."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from fv2es_prep.config import PrepSettings, ordered
from fv2es_prep.errors import SettingsError
from fv2es_prep.stages.base import INPUTS, MEDIA, Stage
from fv2es_prep.utils.registry import Registry

if TYPE_CHECKING:
    from fv2es_prep.detectors.detector import FaceDetector

STAGES: Registry[Stage] = Registry(
    "fv2es.stages",
    "stage",
    {
        "faces": "fv2es_prep.stages.faces:FACES",
        "mel": "fv2es_prep.stages.mel:MEL",
        "tokens": "fv2es_prep.stages.tokens:TOKENS",
        "landmarks": "fv2es_prep.stages.landmarks:LANDMARKS",
        "waveform": "fv2es_prep.stages.waveform:WAVEFORM",
        "mfcc": "fv2es_prep.stages.mfcc:MFCC",
        "egemaps": "fv2es_prep.stages.egemaps:EGEMAPS",
        "egemaps-lld": "fv2es_prep.stages.egemaps:EGEMAPS_LLD",
    },
)

# Input of an encoder stage of each kind; its name is ``KIND-ALIAS``.
ENCODER_INPUTS = {"audio": "waveform", "video": "faces", "text": "transcript"}


def is_encoder(name: str) -> bool:
    """Whether a stage with this name is made by a pretrained encoder, see `encoders`."""
    kind, dash, alias = name.partition("-")
    return bool(dash and alias) and kind in ENCODER_INPUTS and name not in STAGES.names()


@functools.cache
def load_stage(name: str) -> Stage:
    """Load the stage with a name; UsageError if there is none."""
    if is_encoder(name):
        from fv2es_prep.stages.encoders.encoder_stage import EncoderStage

        return EncoderStage(name)
    return STAGES.load(name)


@functools.cache
def stages_of(settings: PrepSettings) -> tuple[Stage, ...]:
    """The stages of a dataset that are installed here."""
    return tuple(load_stage(name) for name in settings.stages if is_installed(name))


def sections_of(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Default settings of stages without a section in `PrepSettings`, except encoders."""
    stages = [load_stage(name) for name in names if not is_encoder(name)]
    return {s.name: asdict(s.settings()) for s in stages if not s.section and fields(s.settings)}


def is_installed(name: str) -> bool:
    """Whether a stage with this name is installed."""
    return name in STAGES.builtin or name in STAGES.names() or is_encoder(name)


def needs_media(stages: Iterable[Stage], made: Container[str]) -> bool:
    """Whether the stages that are not made yet need video or sound."""
    return any({*stage.needs} & {*MEDIA} for stage in stages if stage.name not in made)


_LETTERS = {"transcript": "t", "sound": "a", "video": "v"}
# Names of columns and arguments that a stage must not have.
_RESERVED = {
    *("row", "digest", "origin", "id", "recording_id", "speaker", "session", "start_s", "end_s"),
    *(
        "text",
        "label",
        "ratings",
        "clamped",
        "source",
        "dropped",
        "missing",
        "utterance",
        "self",
        "rest",
    ),
    *(field.name for field in fields(PrepSettings)),
} - {"faces", "mel"}


def media_of(stage: Stage) -> set[str]:
    """Which of ``video`` and ``sound`` the stage needs, directly or through other stages."""
    others = (need for need in stage.needs if need not in INPUTS)
    return {*MEDIA} & {*stage.needs} | {m for name in others for m in media_of(load_stage(name))}


def modalities_of(stage: Stage) -> str:
    """Letters of the modalities that the stage needs, directly or through other stages."""
    others = "".join(modalities_of(load_stage(n)) for n in stage.needs if n not in INPUTS)
    found = others + "".join(_LETTERS[need] for need in stage.needs if need in INPUTS)
    return ordered(found)


def choose_stages(names: Iterable[str]) -> tuple[str, ...]:
    """Sort the names in the order in which the stages are made and stored.

    Raises:
        SettingsError: a stage is unknown, needs another one that is not chosen, or needs video
            and something else.
    """
    wanted = dict.fromkeys(names)
    chosen: list[str] = []
    if unusable := sorted(n for n in wanted if n in _RESERVED or not re.fullmatch(r"[\w-]+", n)):
        raise SettingsError(f"a stage cannot be named {unusable[0]!r}")
    for name in wanted:
        for need in load_stage(name).needs:
            if need not in INPUTS and need not in wanted:
                sentence = f"the stage {name} needs the stage {need}"
                raise SettingsError(sentence, "add it to --stages")
        if "video" in load_stage(name).needs and len(load_stage(name).needs) > 1:
            raise SettingsError(f"the stage {name} needs video and more, expected video alone")
    left = [name for name in dict.fromkeys([*STAGES.names(), *sorted(wanted)]) if name in wanted]
    while left:
        ready = [n for n in left if not any(need in left for need in load_stage(n).needs)]
        if not ready:
            raise SettingsError(f"the stages {', '.join(left)} need each other")
        chosen.append(ready[0])
        left.remove(ready[0])
    return tuple(chosen)


@dataclass(frozen=True)
class StageContext:
    """The loaded stages of a dataset, for any number of utterances.

    Attributes:
        tokenizer: name at the hub or directory of the tokenizer.
        label_classes: the classes, in the order of the label columns.
        device: where networks run, ``cpu`` or torch's name of a GPU.
        encoders: (stage, name at the hub or directory) of the available encoders; the stage
            ``faces`` has the model file of YuNet.
        batch: rows that an encoder takes at once; 0 for the default of its kind.
    """

    settings: PrepSettings
    tokenizer: str
    label_classes: tuple[str, ...]
    device: str = "cpu"
    encoders: tuple[tuple[str, str], ...] = ()
    batch: int = 0

    @functools.cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, in the order in which they are made."""
        return stages_of(self.settings)

    @functools.cached_property
    def detector(self) -> FaceDetector:
        """The face detector."""
        from fv2es_prep.detectors.detector import FaceDetector

        return FaceDetector(self.settings.faces, self.device, dict(self.encoders).get("faces"))

    def maker(self, stage: Stage) -> Callable[..., Any]:
        """The maker of a stage, loaded on first use."""
        if stage.name not in self._makers:
            self._makers[stage.name] = stage.load(self)
        return self._makers[stage.name]

    def value(self, stage: Stage, inputs: Mapping[str, Any]) -> Any:
        """Make the stored value of a stage from its inputs by name; ``video`` is all `Pictures`."""
        made = self.maker(stage)(*(inputs[need] for need in stage.needs))
        return stage.store(stage.join([made]) if "video" in stage.needs else made, self.settings)

    def make_many(self, stage: Stage, inputs: Sequence[Sequence[Any]]) -> list[Any]:
        """Make the values of a stage for several examples, at once if the stage can."""
        key = f"{stage.name}/many"
        if key not in self._makers:
            one = self.maker(stage)
            many = stage.load_many(self)
            self._makers[key] = many or (lambda inputs: [one(*values) for values in inputs])
        found: list[Any] = self._makers[key](inputs)
        return found

    @functools.cached_property
    def _makers(self) -> dict[str, Callable[..., Any]]:
        return {}
