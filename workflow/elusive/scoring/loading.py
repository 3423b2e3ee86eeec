"""A checkpoint directory into a model and a tokenizer, with everything fixed that could change the numbers."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elusive import imports, logs
from elusive.errors import ElusiveError
from elusive.scoring import weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logs.get(__name__)

SENTENCEPIECE = "tokenizer.model"
#: What tokenizers do differently: white space of several kinds, digits, other scripts, what no piece stands for.
_PROBES = ("What is the answer?", " two  spaces, 12,345\nand a line", "日本 naïve 👍")


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
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=trust_remote_code, **options
        )
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if dropout := getattr(getattr(backend, "model", None), "dropout", None):
        raise ElusiveError(
            f"{directory / 'tokenizer.json'}: model.dropout is {dropout:g}, so that the same text has other tokens "
            "each time, as in training; set it to null"
        )
    if (directory / SENTENCEPIECE).is_file() and not (directory / "tokenizer.json").is_file():
        check_sentencepiece(directory / SENTENCEPIECE, tokenizer)
    return tokenizer


def check_sentencepiece(path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a ``tokenizer`` that is not the SentencePiece model at ``path`` which it was made of.

    transformers chooses a class by the model's type and takes the model's pieces for those of that class, whatever
    they are, where the directory does not say otherwise.
    """
    import sentencepiece

    advice = "save the tokenizer as tokenizer.json (save_pretrained of the one that the model was trained with)"
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise ElusiveError(f"{path}: is no SentencePiece model; {advice}") from error
    for text in _PROBES:
        if tokenizer(text, add_special_tokens=False).input_ids != pieces.encode(text):
            raise ElusiveError(
                f"{path}: the {type(tokenizer).__name__} that transformers makes of it splits {text!r} otherwise than "
                f"the SentencePiece model does; {advice}"
            )


def load_model(
    directory: Path,
    dtype: str = "float32",
    device: str = "cpu",
    threads: int = 1,
    trust_remote_code: bool = False,
    notes: list[str] | None = None,
) -> PreTrainedModel:
    """The model in evaluation mode on ``device``, from local files alone, with every tensor from them.

    No code from them is run unless ``trust_remote_code``: pickled weights pass torch's weights-only reader. What is
    to be said of the model, though it was loaded, is appended to ``notes``.

    Sets the process's number of threads, turns TF32 off and, on a GPU, deterministic algorithms on. Raises
    :class:`ElusiveError` when transformers cannot make a model of the files, and when it can but not all of it or
    another one than the files hold (``weights``).
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

    weights.check_directory(directory)
    config = weights.read_config(directory / weights.CONFIG)
    files = weights.weight_files(directory, config.get("transformers_weights"))
    pickled = any(file.suffix != ".safetensors" for file in files)
    headers = {} if pickled else weights.read_headers(files)
    weights.check_depth(directory, config, headers)

    def make() -> tuple[PreTrainedModel, dict[str, Any]]:
        with weights.refusing(directory):
            return transformers.AutoModelForCausalLM.from_pretrained(
                directory,
                local_files_only=True,
                trust_remote_code=trust_remote_code,
                weights_only=True,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # which are then refused by name
                # Straight to an accelerator; for the processor this would only import accelerate.
                **({} if device == "cpu" else {"device_map": device}),
            )

    with _explained(directory), _heard():
        if pickled:
            weights.check_pickled(files)
        if trust_remote_code:  # which may use anything
            model, info = make()
        else:
            try:
                with imports.lean():
                    model, info = make()
            except ElusiveError:
                raise
            except Exception:  # whatever it is: it is the checkpoint's own only if it comes again
                model, info = make()
        model.eval()
    notes = [] if notes is None else notes
    notes += weights.check_loaded(model, directory, info, headers)
    if others := weights.other_sets(directory, files):
        notes.append(f"the directory holds {', '.join(others)} too; the weights are those of {files[0].name}")
    if model.is_custom_code():
        with _explained(directory):
            compute_buffers(model)
    return model


def compute_buffers(model: PreTrainedModel) -> None:
    """Give ``model`` what its class computes when it is made and no file holds, such as a mask or rotary frequencies.

    transformers makes models without memory for their tensors, and what is in no file stays whatever the memory that
    they get has held, unless the model's class says how to make it anew, which those of transformers do. So a class
    from elsewhere is made once more, with memory for all but its parameters.
    """
    import torch

    register, before = torch.nn.Module.register_parameter, torch.get_default_dtype()

    def without_memory(self: torch.nn.Module, name: str, param: torch.nn.Parameter | None) -> None:
        register(self, name, None if param is None else torch.nn.Parameter(param.to("meta"), param.requires_grad))

    torch.nn.Module.register_parameter = without_memory
    torch.set_default_dtype(model.dtype)
    try:
        fresh = type(model)(copy.deepcopy(model.config))
    finally:
        torch.nn.Module.register_parameter = register
        torch.set_default_dtype(before)
    made = dict(fresh.named_modules())
    for name, module in model.named_modules():
        if (other := made.get(name)) is None:
            continue
        for key in module._non_persistent_buffers_set & other._buffers.keys():
            if (value := other._buffers[key]) is not None and not value.is_meta:
                module._buffers[key] = value.to(model.device)
        for key, value in vars(module).items():  # tensors that are plain attributes
            if isinstance(value, torch.Tensor) and value.is_meta and isinstance(vars(other).get(key), torch.Tensor):
                setattr(module, key, vars(other)[key].to(model.device))


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """Log what transformers warns of in the block, but for its report, and each sentence once."""
    import logging

    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            # What it reports of tensors is checked and said by name, see ``weights``.
            if "LOAD REPORT" not in text and text not in said:
                said.append(text)

    library = logging.getLogger("transformers")
    before, library.handlers = library.handlers, [Ear(logging.WARNING)]
    try:
        yield
    finally:
        library.handlers = before
        for text in said:
            logger.info("transformers: %s", text)


@contextlib.contextmanager
def _explained(directory: Path) -> Iterator[None]:
    """Turn whatever goes wrong in transformers, or in a model's own code, into an error that names the checkpoint."""
    try:
        yield
    except ElusiveError:
        raise
    except pickle.UnpicklingError as error:
        # torch's own message advises to run whatever is in the file.
        raise ElusiveError(
            f"{directory}: its pickled weights (*.bin) hold something else than tensors, which could be programs, so "
            "they are not read; use a revision with safetensors"
        ) from error
    except SystemExit as error:
        raise ElusiveError(f"{directory}: the checkpoint's own code ends the program (exit status {error})") from error
    except Exception as error:
        # No list of the hundreds of classes that it does know.
        text = str(error).partition("\nModel type should be one of")[0].strip()
        if text.startswith("Unrecognized configuration class"):
            text = f"its model_type is of no causal language model that transformers knows ({text})"
        kind = "" if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: "
        raise ElusiveError(f"{directory}: transformers cannot load this checkpoint: {kind}{text}") from error
