"""Jobs side by side: all of them, whatever happens to one; and a line on the way."""

import os
import re
import signal
import sys
import threading
import time

import pytest
import torch

from qsel.book import jobs
from qsel.book.jobs import Job, side_by_side, stoppable


def never():
    raise AssertionError("nothing was to be stopped")


def test_all_are_done_some_first_and_no_more_at_once_than_asked():
    busy, most, done = set(), [], []

    def job(i):
        def work(gpu, watch):
            busy.add(i)
            most.append(len(busy))
            time.sleep(0.02)
            busy.remove(i)
            done.append(i)
            return "done"

        return Job(str(i), work)

    several = [job(i) for i in range(12)]
    assert side_by_side(several, "Jobs", never, at_once=3, alone=2) == []
    assert done[:2] == [0, 1] and most[:2] == [1, 1]
    assert sorted(done) == list(range(12)) and 2 <= max(most) <= 3


def test_every_failure_is_told_at_once_and_the_others_are_done(capfd):
    told = []

    def job(i, work):
        return Job(f"job {i}", work)

    def fail(gpu, watch):
        raise ValueError("no good\nat all")

    def look(gpu, watch):
        told.append(capfd.readouterr().err)
        return "R@1 50.00"

    def say_nothing(gpu, watch):
        raise KeyError

    several = [job(i, work) for i, work in enumerate([fail, look, say_nothing])]
    failed = side_by_side(several, "Jobs", never, at_once=1)
    assert failed == ["job 0: no good\nat all", "job 2: KeyError"]
    assert told == ["job 0: failed: no good\nat all\n"]
    said = capfd.readouterr().err
    assert re.fullmatch(r"job 1: R@1 50.00, \d+ s\njob 2: failed: KeyError\n", said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_long_work_is_stopped_with_one_sentence(capfd, number):
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # none in the background
    with pytest.raises(SystemExit) as stopped, stoppable("do it again"):
        os.kill(os.getpid(), number)
        time.sleep(10)
    assert stopped.value.code == 130
    assert capfd.readouterr().err.strip() == "qsel: stopped; do it again"
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_another_has_is_asked_for_again(monkeypatch):
    monkeypatch.setattr(jobs.time, "sleep", lambda seconds: None)
    asked = []

    def work(gpu, watch):
        asked.append(1)
        return "done" if len(asked) == 4 else None

    assert side_by_side([Job("one", work)], "Jobs", never, at_once=1) == []
    assert len(asked) == 4


def test_an_interruption_stops_what_runs_and_starts_nothing_more(monkeypatch):
    stopped, started = threading.Event(), []

    def work(gpu, watch):
        started.append(1)
        if not stopped.wait(10):
            raise AssertionError("it was not stopped")
        raise RuntimeError("the kernel died")

    def interrupt(self, call, these):
        for job in these:
            self.submit(call, job)
        while not started:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs.ThreadPoolExecutor, "map", interrupt)
    several = [Job(str(i), work) for i in range(5)]
    with pytest.raises(KeyboardInterrupt):
        side_by_side(several, "Jobs", stopped.set, at_once=1)
    assert len(started) == 1


@pytest.mark.parametrize(
    ("visible", "count", "at_once", "expected"),
    [
        ("", 0, 2, {None}),
        ("", 2, None, {"0", "1"}),
        ("GPU-a,GPU-b", 2, 5, {"GPU-a", "GPU-b"}),  # several share one
    ],
)
def test_each_has_a_gpu_of_its_own(monkeypatch, visible, count, at_once, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    share = -(-(at_once or count) // max(count, 1))  # how many have the same, at most
    busy, seen = [], set()

    def work(gpu, watch):
        busy.append(gpu)
        seen.add(gpu)
        assert gpu is None or busy.count(gpu) <= share
        time.sleep(0.02)
        busy.remove(gpu)
        return "done"

    several = [Job(str(i), work) for i in range(10)]
    assert side_by_side(several, "Jobs", never, at_once) == []
    assert seen == expected


def test_the_time_left_counts_this_sessions_epochs_only(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    resumed, fresh, kept = (Job(n, None, epochs=9) for n in "rfk")
    progress = jobs._Progress("Table 1", [resumed, fresh, kept])
    progress.end(kept, "R@1 50.00")  # done before: no epoch was seen
    progress.follow(resumed, "epoch=8, loss=0.1")  # seven by another session
    progress.follow(resumed, "epoch=9, loss=0.1")
    progress.follow(fresh, "epoch=1")
    bar = progress.bar
    assert (bar.n, bar.total, bar.n - bar.initial) == (10 + 8, 30, 1)
    bar.close()
