"""The interface of a corpus: one value that holds all special knowledge of it.

docs/adding-a-corpus.md shows a complete one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from fv2es_prep.corpora.inventory import LabelChoice
from fv2es_prep.errors import CorpusError, SettingsError
from fv2es_prep.store.raw_files import mirrored, stored_recording
from fv2es_prep.types import Inventory, Provenance, View
from fv2es_prep.utils.files import refuse_url

PROVENANCE_NAME = "provenance.json"
_SPLIT = """\
# Five folds that keep the utterances of a recording together.
recipe = "group"
by = "recording_id"
folds = 5"""


@dataclass(frozen=True)
class NoOptions:
    """The options of a corpus that has none."""


@dataclass(frozen=True)
class Corpus:
    """A corpus that fv2es can prepare.

    Attributes:
        name: its name on the command line. A dataset of it has the same name, or ``VARIANT-name``.
        title: what `fv2es prep NAME` does, in one sentence.
        raw: what its argument RAW is, as a noun phrase.
        example: RAW and options in the example of its help.
        scan: reads the raw corpus: its path, the chosen classes and the options -> the inventory.
            If `classes` is empty, the choice may name no class, and the scan chooses.
        classes: the default label columns, in order.
        options: frozen dataclass of the user's options, each with a default or required. Options
            act through the utterances and recordings that ``scan`` returns; only an option named
            ``layout`` is part of an example's fingerprint by itself.
        presets: name -> the configuration it sets, path -> value; the user's own values win.
        view_of: utterance id -> the view of its speaker, if the id alone decides it.
        licence: an SPDX identifier, or what its licence says about shards and models, in one
            sentence.
        version: its version, if it has one.
        citation: the publication to cite, in one sentence.
        require: letters of the modalities that an utterance must have by default; ``tav`` drops an
            utterance that lacks words, sound or picture, ``""`` only one that has none of them.
        opens_media: whether ``scan`` opens media files itself; such a corpus must be on a local
            disk.
        split: the options under [split] in the recipe that `fv2es init` prints, as TOML.
    """

    name: str
    title: str
    raw: str
    example: str
    scan: Callable[[Path, LabelChoice, Any], Inventory]
    classes: tuple[str, ...] = ()
    options: type[Any] = NoOptions
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    view_of: Callable[[str], View] | None = None
    licence: str = ""
    version: str = ""
    citation: str = ""
    require: str = "tav"
    opens_media: bool = False
    split: str = _SPLIT

    def read_options(self, stored: Mapping[str, Any]) -> Any:
        """Read the result of `stored_options`; ignore other names.

        Raises:
            SettingsError: a required option is missing.
        """
        names = {f.name for f in fields(self.options)}
        try:
            return self.options(**{name: stored[name] for name in names & stored.keys()})
        except TypeError as error:
            raise SettingsError(f"options of {self.name}: {error}") from error


def provenance_of(corpus: Corpus, raw: Path) -> Provenance:
    """Read ``provenance.json`` in the corpus or beside its table; without it take that of `Corpus`.

    Raises:
        CorpusError: the file is invalid.
    """
    path = (raw if raw.is_dir() else raw.parent) / PROVENANCE_NAME
    if not path.is_file():
        head = corpus.name, False, corpus.licence, corpus.version
        return Provenance(*head, citation=corpus.citation)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Provenance)
    except (OSError, msgspec.MsgspecError) as error:
        raise CorpusError(
            f"{path.name} cannot be read: {error}",
            'write {"name": "...", "generated": false, "licence": "CC-BY-4.0", "version": "..."}',
        ) from error


def scan_raw(corpus: Corpus, raw: Path, choice: LabelChoice, options: Any) -> Inventory:
    """Make the inventory of a raw corpus, with its provenance; it may be a URL of an object store.

    Raises:
        CorpusError: it does not exist or has an unexpected layout.
        UsageError: it is a URL, and the corpus opens media files.
        StoreError: the store cannot be read.
    """
    if corpus.opens_media:
        refuse_url(raw)
    with mirrored(raw) as place:
        found = corpus.scan(place, choice, options)
        found = replace(found, provenance=provenance_of(corpus, place))
        if place != raw:
            found = replace(found, recordings=tuple(map(stored_recording, found.recordings)))
    return found


def stored_options(options: Any) -> dict[str, Any]:
    """The options that differ from their defaults, as a dataset stores them."""
    defaults = {f.name: f.default for f in fields(options)}
    values = asdict(options)
    return {k: v for k, v in values.items() if defaults[k] is MISSING or v != defaults[k]}
