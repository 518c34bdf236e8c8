"""Jobs side by side: all of them, whatever happens to one; and a line on the way."""

import os
import re
import signal
import threading
import time

import pytest
import torch

from qsel.book import jobs
from qsel.book.jobs import Job, side_by_side, stoppable


def never():
    raise AssertionError("nothing was to be stopped")


def test_all_are_done_and_no_more_at_once_than_asked():
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

    assert side_by_side([job(i) for i in range(12)], "Jobs", never, at_once=3) == []
    assert sorted(done) == list(range(12)) and 2 <= max(most) <= 3


def test_those_that_go_alone_go_first():
    log = []

    def job(i):
        def work(gpu, watch):
            log.append(("begin", i))
            time.sleep(0.02)
            log.append(("end", i))
            return "done"

        return Job(str(i), work)

    side_by_side([job(i) for i in range(6)], "Jobs", never, at_once=4, alone=2)
    assert log[:4] == [("begin", 0), ("end", 0), ("begin", 1), ("end", 1)]


def test_every_failure_is_named_and_the_others_are_done():
    done = []

    def job(i):
        def work(gpu, watch):
            if i % 3 == 0:
                raise [ValueError("no good"), OSError(28, "full"), KeyError()][i // 3]
            done.append(i)
            return "done"

        return Job(f"job {i}", work)

    failed = side_by_side([job(i) for i in range(9)], "Jobs", never, at_once=2)
    assert sorted(done) == [1, 2, 4, 5, 7, 8]
    told = ["job 0: no good", "job 3: [Errno 28] full", "job 6: KeyError"]
    assert sorted(failed) == told


def test_a_failure_is_told_at_once(capfd):
    told = []

    def fail(gpu, watch):
        raise ValueError("no good\nat all")

    def look(gpu, watch):
        told.append(capfd.readouterr().err)
        return "done"

    side_by_side([Job("one", fail), Job("two", look)], "Jobs", never, at_once=1)
    assert re.search(r"^one: failed after 0 s: no good\nat all$", told[0], re.MULTILINE)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_long_work_is_stopped_with_one_sentence(capfd, number, status):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped, stoppable("do it again"):
        os.kill(os.getpid(), number)
        time.sleep(10)
    assert stopped.value.code == status
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
        (None, 0, 2, {None}),
        (None, 2, None, {"0", "1"}),
        ("3,5", 2, None, {"3", "5"}),  # what a cluster gives
        ("GPU-a,GPU-b", 2, 5, {"GPU-a", "GPU-b"}),  # several share one
        (None, 4, 1, {"0"}),
    ],
)
def test_each_has_a_gpu_of_its_own(monkeypatch, visible, count, at_once, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    slots = at_once or count
    share = -(-slots // max(count, 1))  # how many have the same one, at most
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


def test_a_log_gets_a_line_for_each_job_and_the_time_left(capfd, monkeypatch):
    clock = iter(range(0, 100_000, 60))  # a minute goes by at every look
    monkeypatch.setattr(jobs.time, "monotonic", lambda: next(clock))

    def work(gpu, watch):
        for epoch in (1, 2, 3):
            watch(f"\rmethod2, seed 0: 50%| epoch={epoch}, loss=0.1")
        watch("something else")
        return "R@1 50.00"

    side_by_side([Job(n, work, epochs=3) for n in "ab"], "Table 1", never, at_once=1)
    err = capfd.readouterr().err
    lines = err.splitlines()
    assert "\r" not in err and "\x1b" not in err
    assert [line for line in lines if re.match("[ab]: ", line)] == [
        line for line in lines if re.fullmatch(r"[ab]: R@1 50.00, \d+ s", line)
    ]
    assert sum(bool(re.match("[ab]: ", line)) for line in lines) == 2
    assert any(re.search("a epoch 3/3", line) for line in lines)
    assert re.fullmatch(
        r"Table 1: 1 of 2, \d+ min left",
        lines[lines.index(next(line for line in lines if line.startswith("a: "))) + 1],
    )
    assert lines[-1] == "Table 1: 2 of 2"


def test_the_time_left_counts_this_sessions_epochs_only(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now[0])
    resumed, fresh, kept = (Job(n, None, epochs=9) for n in "rfk")
    progress = jobs._Progress("Table 1", [resumed, fresh, kept])
    progress.start(kept)
    progress.end(kept, "R@1 50.00")  # done before: no epoch was seen
    assert "left" not in progress.status()
    progress.start(resumed)
    progress.follow(resumed, "epoch=8")  # seven were done by another session
    now[0] = 600.0
    progress.follow(resumed, "epoch=9")
    # One epoch took 10 minutes; left are 1 + 1 here, and 9 + 1 of the other.
    assert progress.status() == "Table 1: 1 of 3, 120 min left, r epoch 9/9"
