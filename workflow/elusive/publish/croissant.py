"""The set's description for programs: Croissant 1.0, the vocabulary for data sets of MLCommons.

Each Parquet file is a ``FileObject`` with its checksum, and a ``RecordSet`` with a field a column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from elusive.publish.citation import SPDX

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"

#: The context of Croissant 1.0, which every description carries.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def describe(
    *,
    name: str,
    description: str,
    license: str | None,
    cite_as: str,
    version: str,
    files: Mapping[str, Mapping[str, Any]],
    schemas: Mapping[str, pa.Schema],
    about: Mapping[str, str],
) -> dict[str, Any]:
    """The JSON-LD object.

    ``files``: table -> ``path``, ``bytes`` and ``sha256`` of its Parquet file; ``schemas``: table -> its Arrow schema;
    ``about``: table -> what a row is.
    """
    distribution = [
        {
            "@type": "cr:FileObject",
            "@id": f"{table}.parquet",
            "name": f"{table}.parquet",
            "contentUrl": file["path"],
            "contentSize": f"{file['bytes']} B",
            "encodingFormat": "application/x-parquet",
            "sha256": file["sha256"],
        }
        for table, file in files.items()
    ]
    records = [
        {
            "@type": "cr:RecordSet",
            "@id": table,
            "name": table,
            "description": about[table],
            "field": [_field(table, field) for field in schemas[table]],
        }
        for table in files
    ]
    result = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": description,
        "version": version,
        "citeAs": cite_as,
        "isLiveDataset": False,
    }
    if license:
        result["license"] = f"https://spdx.org/licenses/{SPDX[license]}.html" if license in SPDX else license
    return result | {"distribution": distribution, "recordSet": records}


def _field(table: str, field: pa.Field) -> dict[str, Any]:
    about = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    text = about.get("description", field.name) + (f" ({about['unit']})" if "unit" in about else "")
    type, repeated = (field.type.value_type, True) if pa.types.is_list(field.type) else (field.type, False)
    result = {
        "@type": "cr:Field",
        "@id": f"{table}/{field.name}",
        "name": field.name,
        "description": text,
        "dataType": _data_type(type),
        "source": {"fileObject": {"@id": f"{table}.parquet"}, "extract": {"column": field.name}},
    }
    return result | ({"repeated": True} if repeated else {})


def _data_type(type: pa.DataType) -> str:
    if pa.types.is_boolean(type):
        return "sc:Boolean"
    if pa.types.is_integer(type):
        return "sc:Integer"
    if pa.types.is_floating(type):
        return "sc:Float"
    return "sc:Text"
