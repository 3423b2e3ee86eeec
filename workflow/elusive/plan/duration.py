"""How long a run will take yet: by what its jobs are expected to take, and what those that are done have taken.

A job's expected seconds on one core come from :data:`SECONDS`, or from the FLOPs of training and scoring. Whenever a
job ends, the factor of its kind becomes the seconds that jobs of the kind took by those that were expected; a kind of
which none has ended has the factor of all together, and before anything has ended, what a short loop takes here says
how fast the machine is. What is left is the larger of two numbers: the work that remains by the cores, and the longest
chain of jobs that wait for each other.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field

#: Seconds of the jobs of a rule whose work does not grow much with the study, on an AMD EPYC without AVX-512; of any
#: other rule, :data:`OTHER`.
SECONDS = {
    "corpus": 45.0,
    "items": 2.0,
    "metrics": 4.0,
    "forecast": 8.0,
    "figure_benchmark": 18.0,
    "figure_forecast": 8.0,
    "figure_statistics": 6.0,
    "figure_accuracy": 7.0,
    "checkpoint_intervals": 8.0,
    "report": 12.0,
}
OTHER = 4.0
#: A process that loads torch, and FLOPs in a second of one core, there.
START = 7.0
FLOPS_PER_SECOND = {"train": 2.0e10, "score": 1.5e10}
#: Seconds of the loop of :func:`slowness` there.
_LOOP = 0.0135


@dataclass(frozen=True)
class Expected:
    """A job: its ``kind``, the seconds by the clock that it is expected to take on ``threads`` cores, and the jobs that
    it ``waits`` for."""

    kind: str
    seconds: float
    threads: int = 1
    waits: tuple[Hashable, ...] = ()


def expected_seconds(kind: str, flops: float = 0.0) -> float:
    """Seconds of a job of ``kind``: ``train`` and ``score`` by their ``flops``, others by their rule's name."""
    if kind in FLOPS_PER_SECOND:
        return START + flops / FLOPS_PER_SECOND[kind]
    return SECONDS.get(kind, OTHER)


def slowness() -> float:
    """How many times as long as on the machine of :data:`SECONDS` a loop takes here; the best of three."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        total = 0
        for number in range(200_000):
            total += number
        times.append(time.perf_counter() - start)
    return min(times) / _LOOP


@dataclass
class Remaining:
    """What is left of a run of ``jobs`` on ``cores`` cores; times are seconds of any one clock."""

    jobs: Mapping[Hashable, Expected]
    cores: int
    slowness: float = 1.0
    _started: dict[Hashable, float] = field(default_factory=dict)
    _left: dict[Hashable, float] = field(default_factory=dict)
    _ended: set[Hashable] = field(default_factory=set)
    _spent: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def timed(self) -> Collection[str]:
        """The kinds of which a job has ended."""
        return self._spent.keys()

    def see(self, running: Collection[Hashable], is_finished: Callable[[Hashable], bool], now: float) -> None:
        """Note the jobs that are ``running`` at ``now``; of those that were and are finished, the times are known.

        A job that is neither has failed, unless it is finished when this is called next; it may start again.
        """
        for job in self._started.keys() - set(running) - self._ended:
            if job not in self.jobs:
                continue
            if is_finished(job):
                self._ended.add(job)
                kind, asked = self.jobs[job].kind, self.jobs[job].seconds
                took, expected = self._spent.get(kind, (0.0, 0.0))
                self._spent[kind] = (took + self._left.pop(job, now) - self._started[job], expected + asked)
            elif job in self._left:
                del self._left[job], self._started[job]
            else:
                self._left[job] = now
        for job in running:
            self._started.setdefault(job, now)
            self._left.pop(job, None)

    def seconds(self, now: float, is_finished: Callable[[Hashable], bool] = lambda job: False) -> float:
        """Seconds until all jobs are done; a short one may be finished without ever having been seen at work."""
        took = sum(spent for spent, _ in self._spent.values())
        asked = sum(expected for _, expected in self._spent.values())
        overall = took / asked if asked else self.slowness
        left: dict[Hashable, float] = {}
        for name, job in self.jobs.items():
            if name in self._ended or is_finished(name):
                continue
            spent, expected = self._spent.get(job.kind, (0.0, 0.0))
            seconds = job.seconds * (spent / expected if expected else overall)
            if name in self._started:
                # A job that should be over is taken to be about to end.
                seconds = max(seconds - (now - self._started[name]), 0.0)
            left[name] = seconds
        work = sum(seconds * min(self.jobs[name].threads, self.cores) for name, seconds in left.items())
        return max(work / self.cores, self._longest_chain(left))

    def _longest_chain(self, left: Mapping[Hashable, float]) -> float:
        longest: dict[Hashable, float] = {}
        for first in left:
            # Depth first by hand, since chains may be longer than Python's stack.
            stack = [first]
            while stack:
                name = stack[-1]
                waiting = [job for job in self.jobs[name].waits if job in left and job not in longest]
                if waiting:
                    stack.extend(waiting)
                    continue
                before = (longest[job] for job in self.jobs[name].waits if job in left)
                longest[name] = left[name] + max(before, default=0.0)
                stack.pop()
        return max(longest.values(), default=0.0)


def worded(seconds: float) -> str:
    """A time as people say it: two digits at most of seconds, minutes or hours."""
    if seconds < 55:
        return f"{max(10, round(seconds / 10) * 10)} seconds"
    minutes = round(seconds / 60)
    if minutes < 90:
        return "1 minute" if minutes == 1 else f"{minutes} minutes"
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours < 9.95 else f"{hours:.0f} hours"


def tell(
    remaining: Remaining,
    running: Callable[[], Collection[Hashable]],
    is_finished: Callable[[Hashable], bool],
    say: Callable[[str], None],
    *,
    is_ending: Callable[[], bool] = lambda: False,
    unsure: Collection[str] = (),
    every: float = 60.0,
    poll: float = 1.0,
) -> threading.Thread:
    """Say how long the run is expected to take, and ``every`` so many seconds what is left, until all jobs are done.

    ``running`` gives the jobs at work, ``is_finished`` says whether one is done, and ``is_ending`` whether one has
    failed, after which nothing more is said. Of kinds that are ``unsure``, such as scoring
    on a graphics card, nothing is known before one of their jobs has ended, and nothing is said. A run of less than a
    minute is not worth a word. Returns the thread that does it.
    """

    def is_known() -> bool:
        return all(job.kind not in unsure or job.kind in remaining.timed for job in remaining.jobs.values())

    def follow() -> None:
        start = said = time.monotonic()
        expected = remaining.seconds(start)
        if is_known() and expected >= every:
            say(f"This run is expected to take about {worded(expected)}.")
        while not is_ending():
            time.sleep(poll)
            now = time.monotonic()
            # Who is asked is at work in another thread, and may not be in a state to answer.
            with contextlib.suppress(RuntimeError):
                remaining.see(running(), is_finished, now)
            if now - said >= every:
                said = now
                if all(map(is_finished, remaining.jobs)):
                    return
                if is_known() and not is_ending():
                    say(f"About {worded(remaining.seconds(now, is_finished))} left, after {worded(now - start)}.")

    thread = threading.Thread(target=follow, name="duration", daemon=True)
    thread.start()
    return thread
