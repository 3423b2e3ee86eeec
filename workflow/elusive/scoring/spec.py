"""What a scoring job is asked for, as its command line says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from elusive.errors import ElusiveError

DTYPES = ("float32", "bfloat16", "float16", "auto")
ON_UNSCORABLE = ("error", "drop")


@dataclass(frozen=True)
class Spec:
    """What is scored and how. ``None`` for ``max_length`` and ``token_budget`` leaves the choice to the scorer.

    With ``repo``, the directory must hold that repository's ``revision``, as the download wrote it down.

    Benchmarks named in ``unconditional`` get the column ``log_likelihood_unconditional`` besides: the log-likelihood
    of every continuation behind an empty context, as lm-eval's ``acc_mutual_info`` has it.

    An item with a choice that has no token of its own, or more than the model can be fed, ends the job, or with
    ``on_unscorable`` ``drop`` is left out of the table, which says so.
    """

    model: str
    checkpoint: str
    source: str
    parameters: int | None = None
    parameters_nonembedding: int | None = None
    tokens: int | None = None
    repo: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    dtype: str = "float32"
    device: str = "auto"
    add_bos_token: bool | None = False
    max_length: int | None = None
    unconditional: tuple[str, ...] = ()
    on_unscorable: str = "error"
    token_budget: int | None = None
    threads: int = 1

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Spec:
        """A spec from parsed JSON; raises :class:`ElusiveError` naming the key that is unknown, missing or wrong."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ElusiveError(f"--spec: unknown keys {unknown}; known are {sorted(known)}")
        if missing := [key for key in ("model", "checkpoint", "source") if key not in values]:
            raise ElusiveError(f"--spec: the keys {missing} are missing")
        spec = cls(**{**values, "unconditional": tuple(values.get("unconditional", ()))})
        if spec.dtype not in DTYPES:
            raise ElusiveError(f"--spec: dtype {spec.dtype!r} is not one of {', '.join(DTYPES)}")
        if spec.on_unscorable not in ON_UNSCORABLE:
            raise ElusiveError(f"--spec: on_unscorable {spec.on_unscorable!r} is not one of {', '.join(ON_UNSCORABLE)}")
        length = spec.max_length
        if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
            raise ElusiveError(f"--spec: max_length {length!r} is not a whole number of tokens, 1 or more, or null")
        return spec
