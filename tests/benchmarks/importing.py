"""How fast logs are looked through, against a loop that only reads JSON, and with how much memory.

A folder of logs of lm-eval 0.4.13 is made below ``--folder``: ``--checkpoints`` checkpoints on ten tasks. Their items
are those of built-in benchmarks (two subjects of MMLU with five solved examples), with random log-likelihoods and the
metrics that follow from them: about 20 MB a checkpoint. There are more checkpoints until there are ``--gigabytes``. The
same files are then read three times, each in a process of its own: by a loop of ``json.loads`` over all lines, and by
``python -m elusive inspect-logs`` with one process and with all cores. Everything is read once before, so that no disk
is measured.

    python tests/benchmarks/importing.py --gigabytes 2 --folder /tmp/logs

prints seconds, MB/s, CPU seconds and the largest memory of all processes together. The folder is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

from elusive.items.archive import FILE_NAME, Archive  # noqa: E402
from elusive.items.benchmarks import BENCHMARKS  # noqa: E402
from elusive.items.build import archive_set  # noqa: E402
from elusive.items.fetch import fetch_archive  # noqa: E402
from logged import aggregates  # noqa: E402

#: Task -> items of it that are taken, and solved examples before each.
TASKS = {
    "arc_easy": (2376, 0),
    "arc_challenge": (1172, 0),
    "hellaswag": (600, 0),
    "openbookqa": (500, 0),
    "piqa": (1838, 0),
    "sciq": (1000, 0),
    "social_iqa": (1954, 0),
    "winogrande": (1267, 0),
    "mmlu_anatomy": (135, 5),
    "mmlu_virology": (166, 5),
}

LOOP = """
import json, sys
count = 0
for name in sys.stdin.read().splitlines():
    with open(name, "rb") as lines:
        for line in lines:
            json.loads(line)
            count += 1
print(count)
"""


def templates(archive: Path) -> dict[str, list[tuple[str, list[int], int]]]:
    """Task -> of each item its line without numbers, lengths of its choices (none with two contexts), and gold."""
    found = {}
    with Archive(archive) as opened:
        for task, (count, shots) in TASKS.items():
            lines = []
            for number, item in enumerate(archive_set(BENCHMARKS[task], opened, shots).items[:count]):
                several = len(item.contexts) > 1
                line = {
                    "doc_id": number,
                    "doc": {"question": item.contexts[0][-300:], "choices": item.choices, "answer": str(item.gold + 1)},
                    "target": item.choices[0] if several else str(item.gold),
                    "arguments": {
                        f"gen_args_{i}": {"arg_0": a, "arg_1": b} for i, (a, b) in enumerate(item.requests())
                    },
                    "resps": "RESPS",
                    "filtered_resps": "FILTERED",
                    "filter": "none",
                    "metrics": ["acc"] if several else ["acc", "acc_norm"],
                    "doc_hash": f"{number:064x}",
                    "prompt_hash": f"{number:064x}",
                    "target_hash": f"{number:064x}",
                }
                text = json.dumps(line, ensure_ascii=False)[:-1]
                lines.append((text, [] if several else [len(choice) for choice in item.choices], item.gold))
            found[task] = lines
    return found


def write(folder: Path, archive: Path, gigabytes: float, least: int) -> tuple[list[Path], int]:
    """Write logs of at least ``least`` checkpoints and ``gigabytes``: the files of samples, and their bytes."""
    made = templates(archive)
    files: list[Path] = []
    size = checkpoint = 0
    while checkpoint < least or size < gigabytes * 1e9:
        checkpoint += 1
        numbers = random.Random(checkpoint)
        time_of_run = f"2026-01-02T03-{checkpoint // 60 % 60:02d}-{checkpoint % 60:02d}.{checkpoint:06d}"
        home = folder / f"step{checkpoint * 1000}" / f"__ckpt__model__step{checkpoint * 1000}"
        home.mkdir(parents=True)
        for task, lines in made.items():
            parts = []
            for text, lengths, gold in lines:
                count = len(lengths) or 2
                values = [-numbers.uniform(1, 200) for _ in range(count)]
                accuracy = float(max(range(count), key=values.__getitem__) == gold)
                flat = ", ".join(f'["{value!r}", "False"]' for value in values)
                nested = ", ".join(f'[["{value!r}", "False"]]' for value in values)
                line = text.replace('"RESPS"', f"[{nested}]").replace('"FILTERED"', f"[{flat}]")
                metrics = f', "acc": {accuracy}'
                if lengths:
                    scores = [value / length for value, length in zip(values, lengths, strict=True)]
                    metrics += f', "acc_norm": {float(max(range(count), key=scores.__getitem__) == gold)}'
                parts.append(f"{line}{metrics}}}\n")
            file = home / f"samples_{task}_{time_of_run}.jsonl"
            file.write_text("".join(parts), encoding="utf-8")
            files.append(file)
            size += file.stat().st_size
        arguments = {"pretrained": f"/ckpt/model/step{checkpoint * 1000}"}
        (home / f"results_{time_of_run}.json").write_text(json.dumps(aggregates(list(TASKS), model_args=arguments)))
    return files, size


def measure(name: str, command: list[str], text: str, megabytes: float) -> None:
    """Run ``command`` with ``text`` as its input; print time, speed, CPU time and the largest memory of its tree."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    started = time.monotonic()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        process.stdin.write(text)
        process.stdin.close()
        largest = 0
        top = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                tree = [top, *top.children(recursive=True)]
                # What each process has for itself: pages that are shared, as those of programs, are left out.
                largest = max(largest, sum(each.memory_full_info().uss for each in tree))
            except psutil.Error:
                pass
            time.sleep(0.05)
        process.stdout.read()
        status = process.returncode
    seconds = time.monotonic() - started
    used = os.times()
    cpu = used.children_user + used.children_system - measure.before
    measure.before = used.children_user + used.children_system
    print(
        f"{name:32} {seconds:7.1f} s {megabytes / seconds:7.0f} MB/s {cpu:7.1f} CPU s {megabytes / cpu:7.0f} MB/CPU s "
        f"{largest / 1e6:7.0f} MB of memory, exit status {status}",
        flush=True,
    )


measure.before = 0.0


def main() -> None:
    """Make the folder, measure, and remove it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=0.2, help="bytes of samples, at least")
    parser.add_argument("--checkpoints", type=int, default=3, help="number of checkpoints, at least")
    parser.add_argument("--folder", type=Path, required=True, help="where to make the logs; must not exist")
    parser.add_argument("--keep", action="store_true", help="do not remove the folder")
    args = parser.parse_args()
    archive = Path(os.environ.get("ELUSIVE_ARCHIVE") or Path.home() / ".cache" / "elusive" / FILE_NAME)
    fetch_archive(archive)
    args.folder.mkdir(parents=True)
    try:
        files, size = write(args.folder, archive, args.gigabytes, args.checkpoints)
        print(f"{len(files)} files of {len(files) // len(TASKS)} checkpoints, {size / 1e9:.2f} GB", flush=True)
        names = "\n".join(map(str, files))
        for file in files:  # into the cache of the operating system, as far as it fits
            file.read_bytes()
        measure("json.loads of every line", [sys.executable, "-c", LOOP], names, size / 1e6)
        inspect = [sys.executable, "-m", "elusive", "inspect-logs", str(args.folder)]
        measure("inspect-logs, one process", [*inspect, "--cores", "1"], "", size / 1e6)
        cores = os.cpu_count() or 1
        measure(f"inspect-logs, {cores} processes", [*inspect, "--cores", str(cores)], "", size / 1e6)
    finally:
        if not args.keep:
            shutil.rmtree(args.folder)


if __name__ == "__main__":
    main()
