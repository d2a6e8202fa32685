"""croissant.json: describes a dataset in Croissant 1.1 for search engines and loaders.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html defines the terms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fv2es_prep.shards.tools.export.dataset_card import people_text, sources_of, title_of
from fv2es_prep.shards.tools.export.source import Export, ExportedField, Records
from fv2es_prep.utils.files import sha256_of, write_json
from fv2es_prep.utils.licences import licence_url

CROISSANT_NAME = "croissant.json"
_FILES = "example-files"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        word: f"cr:{word}"
        for word in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract"),
            *("field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
            *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source"),
            *("subField", "transform"),
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}


def write_croissant(
    source: Export,
    directory: Path,
    files: Mapping[str, str],
    records: Records,
    fields: Sequence[ExportedField],
) -> None:
    """Write the description of some files to ``source.out``.

    Args:
        source: the dataset that they were made from.
        directory: current directory of the files.
        files: path of a file, relative to ``directory`` -> its media type.
        records: how the files store examples.
        fields: the fields of an example; if empty, no record is described.

    Raises:
        OutputError: the file cannot be written.
    """
    known = {shard.name: shard.sha256 for shard in source.index.shards} | source.index.files
    objects = [
        _file_object(directory / name, name, kind, known.get(name)) for name, kind in files.items()
    ]
    described = _head(source) | {"distribution": objects}
    if told := _fields(fields, records):
        objects.append(_file_set(objects, records))
        described["recordSet"] = [
            {
                "@type": "cr:RecordSet",
                "@id": "examples",
                "name": "examples",
                "description": "one record for each utterance",
                "key": {"@id": "examples/id"},
                "field": told,
            }
        ]
    write_json(source.out / CROISSANT_NAME, described)


def _head(source: Export) -> dict[str, Any]:
    index, title = source.index, title_of(source.index)
    origins = sources_of(index)
    licences = {licence_url(o.spdx) if o.spdx else o.licence for o in origins} - {""}
    cited = [origin.citation for origin in origins if origin.citation]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": title,
        "description": f"{len(source)} utterances of {title} with emotion labels, prepared with "
        "fv2es: faces, sound and words of each.",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "license": sorted(licences) or ["unknown"],
        **({"citeAs": "\n".join(dict.fromkeys(cited))} if cited else {}),
        **_version(source),
        "isAccessibleForFree": index.may_be_handed_on,
        "isLiveDataset": False,
        "keywords": ["emotion recognition", "multimodal", *index.label_classes],
        "rai:personalSensitiveInformation": people_text(index),
    }


def _version(source: Export) -> dict[str, str]:
    """The version of the only corpus, if it is numeric, as Croissant requires."""
    versions = {origin.version for origin in sources_of(source.index)}
    version = versions.pop() if len(versions) == 1 else ""
    if not re.fullmatch(r"\d+(\.\d+){0,2}", version):
        return {}
    return {"version": version + ".0" * (2 - version.count("."))}


def _file_object(path: Path, name: str, kind: str, sha256: str | None) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": path.name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": kind,
        "sha256": sha256 or sha256_of(path),
    }


def _file_set(objects: list[dict[str, Any]], records: Records) -> dict[str, Any]:
    within = [{"@id": one["@id"]} for one in objects] if records.archive else []
    return {
        "@type": "cr:FileSet",
        "@id": _FILES,
        "name": _FILES,
        "description": "the files that hold examples",
        **({"containedIn": within} if within else {}),
        "encodingFormat": records.encoding,
        "includes": records.pattern,
    }


def _fields(fields: Sequence[ExportedField], records: Records) -> list[dict[str, Any]]:
    if records.by == "column":
        return [_field(field) for field in fields]
    # The reference implementation does not read JSON files in an archive.
    told = ", ".join(field.name for field in fields)
    return [
        _described(ExportedField("id", "Text", "file of the example")) | _property("filename"),
        _described(ExportedField("json", "Text", f"JSON: {told}")) | _property(records.by),
    ]


def _property(name: str) -> dict[str, Any]:
    return {"source": {"fileSet": {"@id": _FILES}, "extract": {"fileProperty": name}}}


def _field(field: ExportedField) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": _FILES}}
    source["extract"] = {"column": field.column or field.name}
    if field.within:
        source["transform"] = {"jsonPath": field.within}
    return _described(field) | {"source": source}


def _described(field: ExportedField) -> dict[str, Any]:
    several: dict[str, Any] = {}
    if field.shape:
        # A list of files is not an array.
        array = {"isArray": True, "arrayShape": field.shape}
        several = {"repeated": True} if field.within else array
    return {
        "@type": "cr:Field",
        "@id": f"examples/{field.name}",
        "name": field.name,
        "description": field.meaning,
        "dataType": f"sc:{field.kind}",
        **several,
    }
