"""How a published set, and what it rests on, is cited: CITATION.cff and BibTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

#: Licences as the hub writes them -> as SPDX does, which CITATION.cff wants. Others are left out there.
SPDX = {
    "apache-2.0": "Apache-2.0",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
    "cc0-1.0": "CC0-1.0",
    "mit": "MIT",
    "odbl": "ODbL-1.0",
    "odc-by": "ODC-By-1.0",
    "pddl": "PDDL-1.0",
}
UNNAMED = "The publishers of this data set"
_PAPER = {
    "title": "Why Has Predicting Downstream Capabilities of Frontier AI Models with Scale Remained Elusive?",
    "year": 2024,
    "arxiv": "2406.04391",
    "authors": (
        ("Schaeffer", "Rylan"),
        ("Schoelkopf", "Hailey"),
        ("Miranda", "Brando"),
        ("Mukobi", "Gabriel"),
        ("Madan", "Varun"),
        ("Ibrahim", "Adam"),
        ("Bradley", "Herbie"),
        ("Biderman", "Stella"),
        ("Koyejo", "Sanmi"),
    ),
}


def citation_file(title: str, authors: Sequence[str], license: str | None, version: str) -> str:
    """The text of CITATION.cff."""
    content: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use these data, please cite them, the paper whose method made them, and the benchmarks.",
        "type": "dataset",
        "title": title,
        "version": version,
        "authors": [{"name": name} for name in authors or [UNNAMED]],
    }
    if license in SPDX:
        content["license"] = SPDX[license]
    content["references"] = [
        {
            "type": "article",
            "title": _PAPER["title"],
            "year": _PAPER["year"],
            "notes": f"arXiv:{_PAPER['arxiv']}",
            "authors": [{"family-names": family, "given-names": given} for family, given in _PAPER["authors"]],
        }
    ]
    return yaml.dump(content, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=120)


def bibtex(title: str, authors: Sequence[str], benchmarks: Iterable[Mapping[str, Any]]) -> str:
    """BibTeX entries of the set, of the paper, and of the ``benchmarks`` that have one, each once."""
    names = " and ".join(f"{{{name}}}" if " " in name and name == UNNAMED else name for name in authors or [UNNAMED])
    own = f"@misc{{published_choices,\n  title = {{{title}}},\n  author = {{{names}}}\n}}"
    paper = (
        "@article{schaeffer2024elusive,\n"
        f"  title = {{{_PAPER['title']}}},\n"
        f"  author = {{{' and '.join(f'{family}, {given}' for family, given in _PAPER['authors'])}}},\n"
        f"  journal = {{arXiv:{_PAPER['arxiv']}}},\n"
        f"  year = {{{_PAPER['year']}}}\n}}"
    )
    cited = dict.fromkeys(entry["citation"].strip() for entry in benchmarks if entry["citation"])
    return "\n\n".join([own, paper, *cited])
