"""lm-evaluation-harness, 0.4.0 to 0.4.13: the samples of ``--log_samples`` and the aggregates beside them.

A line has the texts of all requests (``arguments``), what the model said of each (``resps``: log-likelihood and whether
it is greedy), ``target`` and the metrics. Between versions these change their form: numbers became text in 0.4.3, lists
of arguments became mappings, and ``target`` is always text from 0.4.4. 0.5.0.dev1 logs ``target`` as an index wherever
there are choices, and leaves the delimiter out next to white space.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from elusive.configuration import imported
from elusive.errors import ElusiveError
from elusive.importing import streams
from elusive.importing.records import Record, shared, text_identity

DELIMITER = " "
#: The time in the names of one run's files, which is what they have in common.
TIME = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?"
_SAMPLES = re.compile(rf"samples_(?P<task>.+)_(?P<time>{TIME})(?:\.[a-z]+)?$")
_AGGREGATES = re.compile(rf"(?:^|_)(?P<time>{TIME})\.json$")
_COMPRESSED = re.compile(r"\.(gz|zst)$")
_INTEGER = re.compile(r"-?\d+")
_ARGUMENTS = [f"gen_args_{i}" for i in range(512)]
_FLAGS = {True: True, "True": True, "true": True, False: False, "False": False, "false": False}


def is_sample(found: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a line of samples."""
    return "doc_id" in found and "resps" in found and ("arguments" in found or "filtered_resps" in found)


def is_aggregates(found: Mapping[str, Any]) -> bool:
    """Whether a JSON document has the results of a run."""
    parts = ("versions", "configs", "n-shot", "n-samples")
    return (
        isinstance(found.get("results"), dict)
        and isinstance(found.get("config"), dict)
        and ("versions" in found or "configs" in found)
        and all(isinstance(found.get(part) or {}, dict) for part in parts)
    )


def samples_name(name: str) -> tuple[str, str | None]:
    """Task and time of a run by the name of a file of samples, without a time its stem."""
    name = _COMPRESSED.sub("", name)
    if found := _SAMPLES.search(name):
        return found["task"], found["time"]
    return re.sub(r"\.jsonl?$", "", name), None


def untimed_samples(
    name: str, aggregates: Sequence[Mapping[str, Any]], tasks: Iterable[str]
) -> tuple[str, dict[str, Any], Mapping[str, Any] | None]:
    """Task, what is known of the run, and its aggregates, of a file named as 0.4.0 to 0.4.2 name samples.

    The name is the model's arguments and the task; ``aggregates`` are those of the same folder, of which later runs
    overwrite earlier ones. Without the right ones, the name is all there is: the task is then the longest of ``tasks``
    that it ends in.
    """
    stem = re.sub(r"\.jsonl?$", "", _COMPRESSED.sub("", name))
    fitting = [(prefix, found) for found in aggregates if (prefix := mangled_arguments(found)) is not None]
    fitting = [(prefix, found) for prefix, found in fitting if stem.startswith(f"{prefix}_")]
    if fitting:
        prefix, found = max(fitting, key=lambda entry: len(entry[0]))
        return stem[len(prefix) + 1 :], {}, found
    if len(aggregates) == 1 and stem in aggregates[0]["results"]:
        return stem, {}, aggregates[0]
    known = {*tasks, *(task for found in aggregates for task in found["results"])}
    task = max((task for task in known if stem == task or stem.endswith(f"_{task}")), key=len, default=stem)
    arguments = dict(part.split("__", 1) for part in stem[: -len(task) - 1].split(",") if "__" in part and stem != task)
    names = [arguments["revision"]] if "revision" in arguments else []
    names += [arguments["pretrained"].split("__")[-1]] if "pretrained" in arguments else []
    return task, {"names": names} if names else {}, None


def aggregates_time(name: str) -> str | None:
    """Time of a run by the name of a file of aggregates; None for ``results.json``."""
    found = _AGGREGATES.search(_COMPRESSED.sub("", name))
    return found["time"] if found else None


def mangled_arguments(aggregates: Mapping[str, Any]) -> str | None:
    """What 0.4.0 to 0.4.2 put before the task in the names of samples: the model's arguments without slashes."""
    given = aggregates.get("config", {}).get("model_args")
    return re.sub(r"/|=", "__", given) if isinstance(given, str) else None


def model_arguments(aggregates: Mapping[str, Any]) -> dict[str, Any]:
    """``model_args``, which are text before 0.4.10 and a mapping from then on."""
    return imported.model_arguments(aggregates.get("config", {}))


def model_name(aggregates: Mapping[str, Any]) -> str | None:
    """The model as it was named, a repository or a path; for a parameter-efficient adapter, that."""
    arguments = model_arguments(aggregates)
    keys = ("peft", "delta", "pretrained", "model", "path", "engine")
    return next((str(arguments[key]) for key in keys if arguments.get(key)), None)


def about(aggregates: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What the aggregates say of a task's run, as far as it is known: nothing private, and no path.

    ``names`` are what a checkpoint may be called by: revision, commit, and the last part of the model's name.
    """
    config, arguments = aggregates.get("config", {}), model_arguments(aggregates)
    keys = ("configs", "n-shot", "n-samples", "versions")
    configs, shots, counts, versions = (aggregates.get(key) or {} for key in keys)
    own = configs.get(task) or {}
    revision = config.get("model_revision") or arguments.get("revision")
    named = model_name(aggregates)
    parameters = config.get("model_num_parameters")
    quantised = [key for key in ("load_in_4bit", "load_in_8bit", "gptq", "autogptq") if _given(arguments.get(key))]
    quantised += [str(arguments["quantization"])] if _given(arguments.get("quantization")) else []
    count = counts.get(task)
    found = {
        "harness": "lm-evaluation-harness",
        "harness_version": aggregates.get("lm_eval_version"),
        "harness_commit": aggregates.get("git_hash"),
        "transformers_version": aggregates.get("transformers_version"),
        "task_version": versions.get(task),
        "dataset": own.get("dataset_path"),
        "num_fewshot": shots.get(task, own.get("num_fewshot")),
        "fewshot_seed": config.get("fewshot_seed"),
        "limit": config.get("limit"),
        "num_items": count.get("effective") if isinstance(count, dict) else None,
        "chat_template": aggregates.get("chat_template_sha"),
        "revision": revision,
        "commit": config.get("model_sha") or None,
        "dtype": str(config.get("model_dtype") or arguments.get("dtype") or "").removeprefix("torch.") or None,
        "backend": config.get("model"),
        "batch_size": config.get("batch_size"),
        "request_cache": bool(config.get("use_cache")) if "use_cache" in config else None,
        "quantised": ", ".join(quantised) or None,
        "adapter": any(_given(arguments.get(key)) for key in ("peft", "delta")) or None,
        "parameters": parameters if isinstance(parameters, int) and parameters > 0 else None,
        "delimiter": own.get("target_delimiter", DELIMITER),
        "model": PurePath(named).name if named else None,
        "names": [str(name) for name in (revision, config.get("model_sha"), named and PurePath(named).name) if name],
    }
    return {key: value for key, value in found.items() if value is not None}


def _given(value: Any) -> bool:
    return value not in (None, False, "", "False", "false", "None")


class SampleReader:
    """Turns the lines of one task's samples into records."""

    def __init__(self, file: str, task: str, delimiter: str | None = None, version: str | None = None) -> None:
        self.file, self.task = file, task
        self.delimiter = DELIMITER if delimiter is None else delimiter
        self.development = bool(version and version.startswith("0.5"))
        #: Whether an unconditional half was left out, since its continuations are others than the item's.
        self.dropped_unconditional = False
        #: Whether nothing in the file allows what was read to be checked.
        self.unchecked = True
        self._filter: str | None = None

    def read(self, progress: streams.Progress | None = None) -> Iterator[Record]:
        """The records in the file's order. Raises :class:`ElusiveError`."""
        for line, found in streams.objects(self.file, progress):
            try:
                yield self.record(found)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise ElusiveError(
                    f"{self.file}, line {line}: not as lm-eval writes samples ({type(error).__name__}: {error})"
                ) from error

    def record(self, found: Mapping[str, Any]) -> Record:
        """The record of a line; its gold is None where the log does not have it."""
        number = int(found["doc_id"])
        contexts, continuations = self._texts(found)
        values, greedy = self._scores(found, number, len(contexts))
        self.development = development = self.development or _nested(found.get("filtered_resps"))
        logged = found
        # Filters beside the first may change what was said before metrics are made of it.
        if (used := found.get("filter")) is not None:
            self._filter = used if self._filter is None else self._filter
            logged = found if used == self._filter else {}
        measures: dict[str, Any] = {"doc_hash": found["doc_hash"]} if "doc_hash" in found else {}
        unconditional = None
        half = len(contexts) // 2
        if len(contexts) > 2 and len(contexts) == 2 * half and not any(contexts[half:]) and any(contexts[:half]):
            measures["unconditional"] = values[half:]
            if continuations[half:] == continuations[:half]:
                unconditional = tuple(values[half:])
            else:
                self.dropped_unconditional = True
            contexts, continuations = contexts[:half], continuations[:half]
            values, greedy = values[:half], greedy[:half]
        if len(values) == 1:
            raise self._refuse("scores a single text for each item")
        contexts, own = shared(contexts, continuations)
        several = len(contexts) > 1
        delimiter = "" if [text for text in own if not text.startswith(self.delimiter)] else self.delimiter
        choices = tuple([text[len(delimiter) :] for text in own])
        metrics = {name: logged[name] for name in _METRICS if name in logged}
        self.unchecked = self.unchecked and not metrics
        if several:
            # It is the options that count here, which stand in the contexts.
            metrics.pop("acc_norm", None)
            metrics.pop("acc_bytes", None)
            gold = self._gold_of_contexts(found, metrics, values, choices, development)
        else:
            if right := _truthful_labels(found.get("doc"), choices):
                raise several_right(self.file, number, sum(right))
            gold = self._gold(found, number, choices, len(values))
        if development:
            measures["characters"] = tuple(len(text) for text in own)
        native = found["doc"].get("id") if isinstance(found.get("doc"), dict) else None
        return Record(
            task=self.task,
            number=number,
            contexts=contexts,
            continuations=own,
            choices=choices * len(values) if len(own) == 1 else choices,
            gold=gold,
            log_likelihood=tuple(values),
            identity=text_identity(contexts, own),
            is_greedy=tuple(greedy),
            unconditional=unconditional,
            native_id=native if isinstance(native, str) else None,
            logged=metrics,
            measures=measures,
        )

    def _refuse(self, what: str) -> ElusiveError:
        return ElusiveError(f"{self.file}: task {self.task} {what}; only tasks that score each choice can be imported")

    def _texts(self, found: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
        """Contexts and continuations of all requests, in their order."""
        arguments = found["arguments"]
        if isinstance(arguments, dict):
            names: Sequence[str] = _ARGUMENTS[: len(arguments)]
            if names and names[-1] not in arguments:  # other names, or very many choices: by number, not as text
                names = sorted(arguments, key=lambda key: int(key.rpartition("_")[2]))
            pairs: list[Sequence[Any]] = [tuple(arguments[name].values()) for name in names]
        else:
            pairs = [pair if isinstance(pair, list) else (pair,) for pair in arguments]
        if not pairs:
            raise self._refuse("has no requests")
        columns = list(zip(*pairs, strict=False))
        if len(columns) > 1 and set(map(type, columns[1])) == {str}:
            return columns[0], columns[1]
        single = all(len(pair) < 2 or pair[1] is None for pair in pairs)
        raise self._refuse("scores a single text for each item" if single else "generates text")

    def _scores(self, found: Mapping[str, Any], number: int, count: int) -> tuple[list[float], list[bool]]:
        """What ``resps`` has for each request; ``filtered_resps`` is what a filter made of it."""
        responses = found["resps"]
        if len(responses) != count:
            raise ElusiveError(f"{self.file}: item {number} has {count} requests but {len(responses)} responses")
        try:
            return [float(own[0][0]) for own in responses], [_FLAGS[own[0][1]] for own in responses]
        except (KeyError, IndexError, TypeError, ValueError):
            if any(isinstance(own[0], list) and len(own[0]) == 2 and own[0][1] in _FLAGS for own in responses):
                raise  # a number that is none
            first = responses[0][0]
            text = isinstance(first, str) and not _is_number(first)
            raise self._refuse("generates text" if text else "scores a single text for each item") from None
        finally:
            for choice, own in enumerate(responses):
                if len(own) > 1 and own.count(own[0]) < len(own):
                    raise ElusiveError(
                        f"{self.file}: item {number}, choice {choice}: its repeats differ, which should be equal: {own}"
                    )

    def _gold(self, found: Mapping[str, Any], number: int, choices: Sequence[str], count: int) -> int | None:
        """The right one of ``choices`` (texts without delimiter): ``target`` is its index or its text."""
        target = found.get("target")
        if isinstance(target, str) and not _INTEGER.fullmatch(target):
            if target in choices:  # of equal ones the first, as lm-eval has it
                return choices.index(target)
            if target.startswith("["):
                try:
                    target = ast.literal_eval(target)
                except (ValueError, SyntaxError):
                    return None
        if isinstance(target, list):
            if len(target) != 1:
                raise several_right(self.file, number, len(target))
            return self._gold({"target": target[0]}, number, choices, count)
        if isinstance(target, bool) or target is None:
            return None
        try:
            index = int(target)
        except (TypeError, ValueError):
            return None
        return index if 0 <= index < count else None

    def _gold_of_contexts(
        self,
        found: Mapping[str, Any],
        metrics: Mapping[str, Any],
        values: Sequence[float],
        choices: Sequence[str],
        development: bool,
    ) -> int | None:
        """The right one of several contexts: ``target`` is the text that follows them all, not the gold index."""
        count, target = len(values), found.get("target")
        if development and isinstance(target, int | str) and _INTEGER.fullmatch(str(target)):
            return int(target) if 0 <= int(target) < count else None
        if len(choices) == count and isinstance(target, int | str):  # texts of their own: no winograd
            return self._gold(found, int(found["doc_id"]), choices, count)
        document = found.get("doc")
        answer = document.get("answer") if isinstance(document, dict) else None
        if isinstance(answer, int | str) and not isinstance(answer, bool) and _INTEGER.fullmatch(str(answer)):
            return int(answer) - 1 if 1 <= int(answer) <= count else None
        accuracy = metrics.get("acc")
        if count == 2 and accuracy in (0, 1) and not any(value != value for value in values):
            first = 0 if values[0] >= values[1] else 1
            return first if accuracy == 1 else 1 - first
        return None


def several_right(file: str, number: int | str, count: int) -> ElusiveError:
    """The error of an item with several right answers."""
    return ElusiveError(
        f"{file}: item {number} has {count} right answers, one is needed (of TruthfulQA, mc1 can be imported)"
    )


def _truthful_labels(document: Any, choices: Sequence[str]) -> list[int] | None:
    """Which choices are right if the item is one of TruthfulQA's mc2, whose documents have the choices of both."""
    if not isinstance(document, dict) or not isinstance(document.get("mc2_targets"), dict):
        return None
    mc1, mc2 = document.get("mc1_targets") or {}, document["mc2_targets"]
    same = mc2.get("choices") == list(choices) and mc1.get("choices") != list(choices)
    return mc2.get("labels") if same else None


_METRICS = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _nested(filtered: Any) -> bool:
    """Whether ``filtered_resps`` is nested like ``resps``, as 0.5.0.dev1 has it."""
    try:
        return isinstance(filtered[0][0], list)
    except (TypeError, IndexError, KeyError):
        return False
