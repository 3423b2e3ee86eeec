"""A checkpoint directory into a model and a tokenizer, with everything fixed that could change the numbers."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from elusive.errors import ElusiveError
from elusive.scoring import imports

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load(
    directory: Path,
    dtype: str = "float32",
    device: str = "cpu",
    add_bos_token: bool | None = False,
    threads: int = 1,
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """What :func:`load_model` and :func:`load_tokenizer` return."""
    model = load_model(directory, dtype, device, threads, trust_remote_code)
    return model, load_tokenizer(directory, add_bos_token, threads, trust_remote_code)


def load_tokenizer(
    directory: Path, add_bos_token: bool | None = False, threads: int = 1, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer from local files alone; no code from them is run unless ``trust_remote_code``.

    Raises :class:`ElusiveError` when transformers cannot make a tokenizer of the files.
    """
    # Before tokenizers starts its thread pool.
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
    import transformers

    # lm-eval hands the option on to the tokenizer only where it is set.
    options = {} if add_bos_token is None else {"add_bos_token": add_bos_token}
    with _explained(directory):
        return transformers.AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=trust_remote_code, **options
        )


def load_model(
    directory: Path, dtype: str = "float32", device: str = "cpu", threads: int = 1, trust_remote_code: bool = False
) -> PreTrainedModel:
    """The model in evaluation mode on ``device``, from local files alone.

    No code from them is run unless ``trust_remote_code``: pickled weights pass torch's weights-only reader.

    Sets the process's number of threads, turns TF32 off and, on a GPU, deterministic algorithms on. Raises
    :class:`ElusiveError` when transformers cannot make a model of the files.
    """
    import torch
    import transformers

    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    if device.startswith("cuda"):
        # cuBLAS is deterministic only with this, and has to find it before its first call.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.cuda.set_device(device)
        # On a processor nothing here depends on it, and it would import torch's compiler, which takes a second.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # a guard for debugging that costs time
    transformers.utils.logging.disable_progress_bar()

    make = functools.partial(
        transformers.AutoModelForCausalLM.from_pretrained,
        directory,
        local_files_only=True,
        trust_remote_code=trust_remote_code,
        weights_only=True,
        dtype=dtype,
        # Straight to an accelerator; for the processor this would only import accelerate.
        **({} if device == "cpu" else {"device_map": device}),
    )
    with _explained(directory):
        if trust_remote_code:  # which may use anything
            return make().eval()
        try:
            with imports.lean():
                return make().eval()
        except Exception:  # whatever it is: it is the checkpoint's own only if it comes again
            return make().eval()


@contextlib.contextmanager
def _explained(directory: Path) -> Iterator[None]:
    """Turn transformers' errors into ones that name the checkpoint."""
    from safetensors import SafetensorError

    try:
        yield
    except pickle.UnpicklingError as error:
        # torch's own message advises to run whatever is in the file.
        raise ElusiveError(
            f"{directory}: its pickled weights (*.bin) hold something else than tensors, which could be programs, so "
            "they are not read; use a revision with safetensors"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ElusiveError(f"{directory}: transformers cannot load this checkpoint: {error}") from error
