"""A model of transformers, without importing what only compiling or sharding it needs.

Left to itself, loading any model takes in torch's compiler with its algebra system, torch's distributed tensors and
scipy's optimizers: more time than torch itself, at the start of every job. They are asked for in order to decorate
functions for the compiler, which is never called here, and where transformers' own tests of what is installed say yes.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

#: transformers' tests for what is not needed to run a model on one device.
_NOT_NEEDED = ("is_torch_distributed_available", "is_scipy_available")
_COMPILER = "torch._dynamo"
_INDEXING = f"{_COMPILER}._trace_wrapped_higher_order_op"


@contextlib.contextmanager
def lean() -> Iterator[None]:
    """In the block, the tests of :data:`_NOT_NEEDED` answer no and the compiler's decorators do nothing.

    What is imported or first called in the block stays as it was found there: not for processes that go on to compile
    or shard a model. A module that wants more of the compiler than them fails with an ImportError or AttributeError,
    and can be imported again outside of the block. Afterwards ``torch._dynamo`` is the real one for whoever imports it.
    Does nothing to a compiler that has been imported before.
    """
    import torch
    from transformers import utils

    with contextlib.ExitStack() as stack:
        for module in (utils, utils.import_utils):
            for name in _NOT_NEEDED:
                if (test := getattr(module, name, None)) is not None:
                    setattr(module, name, lambda *_, **__: False)
                    stack.callback(setattr, module, name, test)
        if _COMPILER not in sys.modules:
            stand_ins = _stand_ins()
            sys.modules |= stand_ins
            torch._dynamo = stand_ins[_COMPILER]
            stack.callback(_remove, stand_ins)
        yield


def _stand_ins() -> dict[str, types.ModuleType]:
    """The compiler's module and a part of it, as far as others use them while they are imported."""
    compiler, indexing = types.ModuleType(_COMPILER), types.ModuleType(_INDEXING)
    for name in ("disable", "allow_in_graph", "assume_constant_result"):
        setattr(compiler, name, _as_it_is)

    class TransformGetItemToIndex:
        """The real class, imported when an object of it is made."""

        def __new__(cls, *args: Any, **options: Any) -> Any:
            from torch._dynamo import _trace_wrapped_higher_order_op as real

            return real.TransformGetItemToIndex(*args, **options)

    indexing.TransformGetItemToIndex = TransformGetItemToIndex
    # What saving a model asks for, to see whether it is compiled.
    compiler.eval_frame = types.SimpleNamespace(OptimizedModule=type("OptimizedModule", (), {}))
    return {_COMPILER: compiler, _INDEXING: indexing}


def _remove(stand_ins: dict[str, types.ModuleType]) -> None:
    import torch

    for name, module in stand_ins.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
    if vars(torch).get("_dynamo") is stand_ins[_COMPILER]:
        del torch._dynamo  # torch imports it on demand


def _as_it_is(function: Callable | None = None, *_: Any, **__: Any) -> Any:
    """A decorator, with or without arguments, that returns the function as it is."""
    return _as_it_is if function is None else function
