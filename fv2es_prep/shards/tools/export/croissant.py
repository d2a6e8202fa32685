"""croissant.json: what a dataset holds, in Croissant 1.1, which search engines and loaders read.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html says what the words mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fv2es_prep.shards.tools.export.dataset_card import people_text, sources_of, title_of
from fv2es_prep.shards.tools.export.source import Export, ExportedField, Records
from fv2es_prep.utils.files import sha256_of, write_json
from fv2es_prep.utils.licences import licence_url

CROISSANT_NAME = "croissant.json"
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
    source: Export, files: Iterable[str], records: Records, fields: Iterable[ExportedField]
) -> None:
    """Write the description of the files in ``source.out``.

    Args:
        source: the dataset and the directory.
        files: paths of the files that hold examples, relative to the directory.
        records: how examples lie in them.
        fields: the fields of an example.

    Raises:
        OutputError: the file cannot be written.
    """
    objects = [_file_object(source.out, name, records) for name in files]
    described = _head(source) | {
        "distribution": [*objects, _file_set(objects, records)],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "examples",
                "name": "examples",
                "description": "one record for each utterance",
                "key": {"@id": "examples/id"},
                "field": [_field(field, records) for field in fields],
            }
        ],
    }
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
        "isAccessibleForFree": index.may_be_handed_on,
        "isLiveDataset": False,
        "keywords": ["emotion recognition", "multimodal", *index.label_classes],
        "rai:personalSensitiveInformation": people_text(index),
    }


def _file_object(out: Path, name: str, records: Records) -> dict[str, Any]:
    path = out / name
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": path.name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": records.file_encoding,
        "sha256": sha256_of(path),
    }


def _file_set(objects: list[dict[str, Any]], records: Records) -> dict[str, Any]:
    within = [{"@id": one["@id"]} for one in objects] if records.archive else []
    return {
        "@type": "cr:FileSet",
        "@id": "example-files",
        "name": "example-files",
        "description": "the files that hold examples",
        **({"containedIn": within} if within else {}),
        "encodingFormat": records.encoding,
        "includes": records.pattern,
    }


def _field(field: ExportedField, records: Records) -> dict[str, Any]:
    place = f"$.{field.name}" if records.by == "jsonPath" else field.name
    return {
        "@type": "cr:Field",
        "@id": f"examples/{field.name}",
        "name": field.name,
        "description": field.meaning,
        "dataType": f"sc:{field.kind}",
        **({"isArray": True, "arrayShape": "-1"} if field.repeated else {}),
        "source": {"fileSet": {"@id": "example-files"}, "extract": {records.by: place}},
    }
