"""A checkpoint directory into a model and a tokenizer, with everything fixed that could change the numbers."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

from elusive.errors import ElusiveError

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
    """Model (in evaluation mode, on ``device``) and tokenizer from local files alone.

    No code from them is run unless ``trust_remote_code``: pickled weights pass torch's weights-only reader.

    Sets the process's number of threads, turns TF32 off and, on a GPU, deterministic algorithms on. Raises
    :class:`ElusiveError` when transformers cannot make a model or a tokenizer of the files.
    """
    # Before tokenizers and torch start their thread pools.
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
    import torch
    import transformers
    from safetensors import SafetensorError

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

    # lm-eval hands the option on to the tokenizer only where it is set.
    options = {} if add_bos_token is None else {"add_bos_token": add_bos_token}
    # Straight to an accelerator; for the processor this would only import accelerate.
    placement = {} if device == "cpu" else {"device_map": device}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=trust_remote_code, **options
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(
            directory,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            weights_only=True,
            dtype=dtype,
            **placement,
        )
    except pickle.UnpicklingError as error:
        # torch's own message advises to run whatever is in the file.
        raise ElusiveError(
            f"{directory}: its pickled weights (*.bin) hold something else than tensors, which could be programs, so "
            "they are not read; use a revision with safetensors"
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ElusiveError(f"{directory}: transformers cannot load this checkpoint: {error}") from error
    return model.eval(), tokenizer
