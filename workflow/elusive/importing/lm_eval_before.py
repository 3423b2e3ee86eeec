"""lm-evaluation-harness before 0.4: ``{task}_write_out_info.json``, one JSON array with what was asked and scored.

``prompt_i`` is context and continuation in one, so that the boundary between them is lost: only items whose texts are
known otherwise, those of built-in benchmarks, can be found in it. ``logit_i`` is the log-likelihood, ``truth`` the
right choice, as an index or as a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from elusive.errors import ElusiveError
from elusive.importing import streams
from elusive.importing.records import Record, text_identity

_INTEGER = re.compile(r"-?\d+")
_METRICS = ("acc", "acc_norm")


def is_items(found: Mapping[str, Any]) -> bool:
    """Whether a JSON object is one of the array's."""
    return "doc_id" in found and "prompt_0" in found and "truth" in found


def task_name(file: str) -> str:
    """The task by the name of a file."""
    return re.sub(r"_write_out_info\.json.*$", "", PurePath(file).name)


def read(file: str, task: str, progress: streams.Progress | None = None) -> Iterator[Record]:
    """The records of a file, without contexts and continuations. Raises :class:`ElusiveError`."""
    for line, found in streams.objects(file, progress):
        try:
            yield _record(file, task, found)
        except (KeyError, TypeError, ValueError) as error:
            raise ElusiveError(f"{file}, line {line}: not as lm-eval before 0.4 writes items ({error!r})") from error


def _record(file: str, task: str, found: Mapping[str, Any]) -> Record:
    count = sum(1 for key in found if re.fullmatch(r"logit_\d+", key))
    if count == 0 or not all(_is_number(found[f"logit_{i}"]) for i in range(count)):
        raise ElusiveError(f"{file}: task {task} generates text; only tasks that score each choice can be imported")
    if count == 1:
        raise ElusiveError(
            f"{file}: task {task} scores a single text for each item; only tasks that score each choice can be imported"
        )
    truth = found["truth"]
    index = isinstance(truth, int) and not isinstance(truth, bool)
    index = index or (isinstance(truth, str) and _INTEGER.fullmatch(truth) is not None)
    prompts = tuple(found[f"prompt_{i}"] for i in range(count))
    return Record(
        task=task,
        number=int(found["doc_id"]),
        contexts=None,
        continuations=None,
        choices=None,
        gold=int(truth) if index else None,
        log_likelihood=tuple(float(found[f"logit_{i}"]) for i in range(count)),
        logged={name: found[name] for name in _METRICS if name in found},
        measures={"joined": prompts, **({} if index else {"right_text": truth})},
        identity=text_identity(prompts, ()),
    )


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)
