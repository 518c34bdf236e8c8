"""Everything that is measured, in one run, and its record.

``python -m benchmarks.selection`` measures on the CPU, ``--device cuda`` on a GPU, and
``--tiny`` shows in seconds that all of it runs. The record is one JSON file, written
whole; the book's page on speed is made from it.
"""

import argparse
import json
import os
import platform
import shlex
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

import torch
from tqdm import tqdm

from benchmarks import gpu, growth, steps
from benchmarks.candidates import ALL, OURS, PEERS, RECALL, SAMPLE, Candidate, right
from benchmarks.inputs import KINDS, Inputs, cars196, regular
from benchmarks.measure import beside_floor, peak_memory
from qsel.data.files import written_whole
from qsel.experiments import record as runs

RESULTS = Path(__file__).with_name("results")
LIBRARIES = ("faiss-cpu", "pytorch-metric-learning")
# What is measured, whole and tiny.
WHOLE = dict(
    **dict(d=1024, share=1, repeats=3, peer_repeats=1, triplets=(256, 512, 1024)),
    **dict(source="synthcars", settings={}, epochs=2),
    **dict(growth_d=256, sizes=(8_000, 60_000, 500_000), references=(512, 2048)),
    **dict(large=60_000, counts=(128, 512, 2048, 8192)),
    **dict(million=1_000_000, million_d=128, asked=1000, probes=(8, 32, 128)),
    **dict(gpu_sizes=(8_000, 60_000, 1_000_000), gpu_d=1024, gpu_b=8_000),
    **dict(trunk="resnet101", backend="inductor"),
    **dict(images=32, side=224, gpu_steps=20, trained_on=8_000),
    memory=tuple(ALL),
)
TINY = dict(
    **dict(d=32, share=20, repeats=2, peer_repeats=1, triplets=(64, 128)),
    source="synthcars?images_per_model=2&size=16",
    settings=dict(weights=None, image_size=16, resize=16, embedding_dim=16),
    **dict(epochs=1, growth_d=16, sizes=(400, 800), references=(32,)),
    **dict(large=400, counts=(16, 64)),
    **dict(million=2_000, million_d=16, asked=50, probes=(1, 4)),
    **dict(gpu_sizes=(400, 800), gpu_d=16, gpu_b=64),
    **dict(trunk="resnet18", backend="eager"),
    **dict(images=1, side=32, gpu_steps=1, trained_on=400),
    memory=("method2",),
)


def main(arguments: list[str] | None = None) -> Path:
    """Measure and write the record; the path of it."""
    parser = argparse.ArgumentParser(prog="benchmarks.selection", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tiny", action="store_true", help="small sizes, no result")
    parser.add_argument("--out", type=Path, help="folder of the record")
    parser.add_argument("--only", help="measure this part again, and keep the others")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not (torch.cuda.is_available() or options.tiny):
        parser.error("no CUDA device here; --tiny proves the GPU part on the CPU")
    torch.set_num_threads(options.threads)
    sizes = TINY if options.tiny else WHOLE
    words = ["python", "-m", "benchmarks.selection", "--device", options.device]
    words += ["--threads", str(options.threads), *["--tiny"] * options.tiny]
    record = {
        "command": shlex.join(words),
        "tiny": options.tiny,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(options.device),
        "threads": options.threads,
        "versions": runs.versions() | _libraries(),
        "sizes": sizes,
    }
    began = time.perf_counter()
    parts = cpu_parts(sizes) if options.device == "cpu" else gpu_parts(sizes)
    record |= {name: [] for name in parts}
    folder = options.out or (RESULTS / "tiny" if options.tiny else RESULTS)
    path = folder / f"{options.device}.json"
    before = 0.0
    if options.only:
        if options.only not in parts or not path.exists():
            parser.error(f"--only {options.only}: no such part, or no record yet")
        record = json.loads(path.read_text(encoding="utf-8"))
        parts, before = {options.only: parts[options.only]}, record["minutes"]
    for name, part in parts.items():
        record[name] = list(tqdm(part, desc=name, unit="row"))
        record["minutes"] = round(before + (time.perf_counter() - began) / 60, 1)
        with written_whole(path) as unfinished:  # a part that fails loses no other
            text = json.dumps(record, indent=1, ensure_ascii=False)
            unfinished.write_text(text + "\n", encoding="utf-8")
    print(f"{path.name}: {record['minutes']} minutes, {record['machine']}")
    return path


def cpu_parts(sizes: dict) -> dict[str, Iterator[dict]]:
    """The tables of the CPU, measured as they are asked for."""
    s = SimpleNamespace(**sizes)
    return {
        "selection": _selection(s),
        "peers": _peers(s),
        "steps": _steps(s),
        "growth_n": _growth_n(s),
        "growth_b": growth.with_b(s.large, s.counts, s.growth_d, s.peer_repeats),
        "approximate": _approximate(s),
    }


def gpu_parts(sizes: dict) -> dict[str, Iterator[dict]]:
    """The tables of the GPU; without one, the same code on the CPU."""
    s = SimpleNamespace(**sizes)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {
        "selection": gpu.selection(device, s.gpu_sizes, s.gpu_b, s.gpu_d, s.repeats),
        "training": gpu.training(
            *(device, s.trunk, s.backend, s.images, s.side, s.trained_on, s.gpu_steps)
        ),
    }


def machine(device: str) -> str:
    """What kind of machine this is; never its name."""
    if device == "cuda":
        there = torch.cuda.is_available()
        return torch.cuda.get_device_name() if there else "no GPU"
    model = platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        lines = cpus.read_text().splitlines()
        names = [x.split(":")[1].strip() for x in lines if x.startswith("model name")]
        model = (names or [model])[0]
    return f"{model}, {os.cpu_count()} cores"


def _selection(s: SimpleNamespace) -> Iterator[dict]:
    for kind in KINDS:
        inputs = cars196("train", kind, s.d, s.share)
        for name, candidate in OURS.items():
            yield _row(name, candidate, inputs, kind, s.repeats, s)
        inputs = cars196("test", kind, s.d, s.share)
        everyone = torch.arange(len(inputs.fine))
        inputs = replace(inputs, references=everyone)
        for name, candidate in RECALL.items():
            yield _row(name, candidate, inputs, kind, s.repeats, s)


def _peers(s: SimpleNamespace) -> Iterator[dict]:
    inputs = cars196("train", "clustered", s.d, s.share)
    for name, candidate in PEERS.items():
        if name.startswith("faiss") and not _libraries().get("faiss-cpu"):
            yield _not_run(name, candidate, "FAISS is not installed")
        elif name != "triplet_margin":
            yield _row(name, candidate, inputs, "clustered", s.peer_repeats, s)
    # It lists all triplets: the most samples whose triplets fit.
    name, fits = "triplet_margin", None
    for n in s.triplets:
        few = regular(n, n, s.d)
        if isinstance(peak_memory(name, few), str):
            break
        fits = few
    if fits is None:
        yield _not_run(name, PEERS[name], "even the smallest set does not fit")
    else:
        yield _row(name, PEERS[name], fits, "clustered", s.peer_repeats, s)


def _row(
    name: str,
    candidate: Candidate,
    inputs: Inputs,
    kind: str,
    repeats: int,
    s: SimpleNamespace,
) -> dict:
    memory = peak_memory(name, inputs) if name in s.memory else "not measured"
    row = {
        **{"name": name, "title": candidate.title, "embeddings": kind},
        **{"n": len(inputs.fine), "b": len(inputs.references)},
        **{"d": inputs.embeddings.shape[1], "memory": memory},
        **{"quadruplet": candidate.quadruplet, "target": candidate.target},
    }
    if isinstance(memory, str) and memory != "not measured":
        return row | {"not_run": memory}  # what does not fit there will not fit here
    found, answer = beside_floor(inputs, candidate.run, repeats)
    share = right(name, inputs, answer)
    checked = min(SAMPLE, len(inputs.references))
    return row | found | {"right": share, "checked": checked}


def _not_run(name: str, candidate: Candidate, why: str) -> dict:
    return {"name": name, "title": candidate.title, "not_run": why}


def _steps(s: SimpleNamespace) -> Iterator[dict]:
    yield steps.epochs(s.source, s.settings, s.epochs)


def _growth_n(s: SimpleNamespace) -> Iterator[dict]:
    for b in s.references:
        yield from growth.with_n(s.sizes, b, s.growth_d, s.peer_repeats)


def _approximate(s: SimpleNamespace) -> Iterator[dict]:
    if not _libraries().get("faiss-cpu"):
        return iter([{"not_run": "FAISS is not installed"}])
    return growth.approximate(s.million, s.asked, s.million_d, s.probes)


def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
