"""Checkpoints: RUN/best and RUN/last, with weights as safetensors and the rest as JSON."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep import __version__
from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import DAMAGE, OutputError, SettingsError, TrainError, UsageError, words_of
from fv2es_prep.utils.files import read_regular, whole_file, why_unreadable, write_json
from fv2es_prep.utils.pretrained import refuse_absurd
from fv2es_train.config import TrainConfig
from fv2es_train.models.decision import Decision
from fv2es_train.models.families import build, config_from_json
from fv2es_train.models.run_files import unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from fv2es_train.models.emotion_model import EmotionModel

FORMAT = "fv2es-checkpoint"
FORMAT_VERSION = "1.0"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
REST = "rest.safetensors"
_MOST_BYTES = 64 << 20
# Values of a checkpoint that are plain JSON.
_PLAIN = ("split_digest", "epoch", "metrics", "fv2es_version")
# Settings of a tokenizer, which converted weights lack.
_TOKENIZER = ("text.tokenizer", "text.vocabulary_sha256", "text.vocabulary_size")


@dataclass(frozen=True)
class Checkpoint:
    """A model, with all that is needed to use it as it was evaluated.

    Attributes:
        model: the network; its ``config`` has its sizes and classes.
        train: configuration of its training.
        settings: settings of the shards that it was trained on.
        decision: turns its logits into probabilities and predicted classes.
        split_digest: digest of the split it was trained on; empty if unknown.
        epoch: the epoch after which it was saved, from 1; 0 for converted weights.
        metrics: average metrics on the valid subset after that epoch.
        fv2es_version: version that wrote the checkpoint.
        which: ``best`` or ``last``.
        thresholds_fitted: whether the decision is fitted on the valid subset; False for converted
            weights, whose thresholds are all 0.5.
    """

    model: EmotionModel
    train: TrainConfig
    settings: PrepSettings
    decision: Decision
    split_digest: str
    epoch: int
    metrics: dict[str, Any] = field(default_factory=dict)
    fv2es_version: str = ""
    which: str = "best"
    thresholds_fitted: bool = True

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Class -> threshold of the decision."""
        return self.decision.thresholds

    def check(self, settings: PrepSettings, label_classes: tuple[str, ...]) -> None:
        """Check that shards were prepared like those of the training.

        Raises:
            SettingsError: a setting or the classes differ; the message names the first difference.
        """
        ours, theirs = self.model.config.label_classes, tuple(label_classes)
        if ours != theirs:
            raise SettingsError(
                f"the run has the classes {', '.join(ours)}, but the shards have "
                f"{', '.join(theirs)}",
                "evaluate on shards prepared with the classes of the run, in the same order",
            )
        known = self.settings.text.is_known
        if not known:
            self._refuse_unknown_ids(settings)
        for path, (trained, found) in self.settings.differences(settings).items():
            if known or path not in _TOKENIZER:
                raise SettingsError(
                    f"the run was trained on shards with {path} = {trained!r}, but these shards "
                    "have "
                    f"{found!r}",
                    "evaluate on shards prepared with the settings of the run",
                )

    def _refuse_unknown_ids(self, settings: PrepSettings) -> None:
        known = self.model.config.vocabulary_size
        if known is not None and settings.text.vocabulary_size > known:
            raise SettingsError(
                f"the shards' tokenizer {settings.text.tokenizer!r} has "
                f"{settings.text.vocabulary_size} token ids, but the text encoder of the run "
                f"accepts {known}",
                "evaluate on shards prepared with the tokenizer of the run's text encoder",
            )


def save_checkpoint(
    run: Path, checkpoint: Checkpoint, rest: Mapping[str, torch.Tensor] | None = None
) -> Path:
    """Write RUN/best or RUN/last atomically; return the directory.

    Args:
        run: run directory.
        checkpoint: the checkpoint; its ``which`` names the directory.
        rest: weights of a converted file that the model lacks; None takes those of
            RUN/rest.safetensors, if the run started from such a file.

    Raises:
        OutputError: the checkpoint cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    final, fresh, stale = _places(run, checkpoint.which)
    weights = {k: v.detach().cpu().contiguous() for k, v in checkpoint.model.state_dict().items()}
    try:
        settle(run, checkpoint.which)
        fresh.mkdir(parents=True)
        with whole_file(fresh / WEIGHTS) as temporary:
            save_file(weights, temporary)
        if rest is not None:
            with whole_file(fresh / REST) as temporary:
                save_file({k: v.contiguous() for k, v in rest.items()}, temporary)
        elif (run / REST).is_file():
            shutil.copyfile(run / REST, fresh / REST)
        write_json(fresh / CONFIG, _describe(checkpoint))
        if final.exists():
            final.replace(stale)
        fresh.replace(final)
        shutil.rmtree(stale, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise OutputError(
            f"the checkpoint {final} cannot be written: {why}",
            "choose another directory with --out",
        ) from error
    return final


def settle(run: Path, which: str) -> None:
    """Finish or undo a killed `save_checkpoint`; raise OSError if the disk cannot be written."""
    final, fresh, stale = _places(run, which)
    if (whole := _whole(run, which)) != final:
        whole.replace(final)
    for leftover in (fresh, stale):
        shutil.rmtree(leftover, ignore_errors=True)


def _places(run: Path, which: str) -> tuple[Path, Path, Path]:
    return run / which, run / f".{which}.new", run / f".{which}.old"


def _whole(run: Path, which: str) -> Path:
    """The directory where the complete checkpoint is, or would be."""
    final, fresh, stale = _places(run, which)
    # The old directory is moved away only when the new one is complete.
    return fresh if not final.exists() and stale.exists() and fresh.exists() else final


def load_checkpoint(
    run: Path | str, which: str = "best", device: torch.device | str = "cpu"
) -> Checkpoint:
    """Read RUN/best or RUN/last onto a device; the model is in eval mode, not fused.

    Raises:
        UsageError: the checkpoint does not exist.
        TrainError: the checkpoint is damaged or from another version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from fv2es_train.models.stored_shapes import refuse_other_shapes

    place = _whole(unpacked(Path(run)), which)
    if not (place / CONFIG).is_file():
        raise UsageError(
            f"{run} contains no checkpoint {which!r}: {place / CONFIG} is missing",
            f"train one: fv2es train --shards SHARDS --split FILE --out {run}",
        )
    try:
        stored = json.loads(read_regular(place / CONFIG, _MOST_BYTES))
        _refuse_foreign(stored, place)
        settings = PrepSettings.from_json(stored["settings"])
        refuse_absurd(stored["model"])
        if problem := why_unreadable(place / WEIGHTS):
            raise ValueError(problem[1])
        config = config_from_json(stored["model"])
        refuse_other_shapes(config, settings, place / WEIGHTS)
        model = build(config, settings)
        model.load_state_dict(load_file(place / WEIGHTS))
        return Checkpoint(
            model=model.to(device).eval(),
            train=TrainConfig.from_json(stored["train"]),
            settings=settings,
            decision=_decision(stored, model.config.label_classes),
            which=which,
            thresholds_fitted=stored.get("thresholds_fitted", True),
            **{name: stored[name] for name in _PLAIN},
        )
    except (*DAMAGE, SettingsError, SafetensorError) as error:
        raise TrainError(
            f"the checkpoint {place} cannot be read: {type(error).__name__}: {words_of(error)}",
            "train again, or use the fv2es version that wrote it",
        ) from error


def load_rest(run: Path | str, which: str = "best") -> dict[str, torch.Tensor] | None:
    """Read the weights of a converted file that the model lacks; None for a run trained by fv2es.

    Raises:
        TrainError: the weights cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    place = unpacked(Path(run)) / which / REST
    try:
        return dict(load_file(place)) if place.is_file() else None
    except (OSError, SafetensorError) as error:
        raise TrainError(f"{place} cannot be read: {error!r}", "convert the file again") from error


def _describe(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **vars(checkpoint),
        "thresholds": dict(checkpoint.thresholds),
        "decision": {n: v for n, v in vars(checkpoint.decision).items() if n != "thresholds"},
        "fv2es_version": __version__,
        "label_classes": list(checkpoint.model.config.label_classes),
        "model": checkpoint.model.config.to_json(),
        "train": checkpoint.train.to_json(),
        "settings": checkpoint.settings.to_json(),
    }


def _decision(stored: dict[str, Any], classes: tuple[str, ...]) -> Decision:
    thresholds = {name: stored["thresholds"][name] for name in classes}
    # Checkpoints of earlier versions store only thresholds.
    return Decision(thresholds=thresholds, **stored.get("decision", {}))


def _refuse_foreign(stored: dict[str, Any], place: Path) -> None:
    written = str(stored.get("format_version", ""))
    same_major = written.split(".")[0] == FORMAT_VERSION.split(".")[0]
    if stored.get("format") != FORMAT or not same_major:
        raise TrainError(
            f"{place / CONFIG} has the format {stored.get('format')!r} version {written!r}, "
            "expected "
            f"{FORMAT!r} version {FORMAT_VERSION}",
            "use the fv2es version that wrote it",
        )
