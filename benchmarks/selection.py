"""Everything that is measured, in one run, and its record.

``python -m benchmarks.selection`` measures on the CPU, ``--device cuda`` on a GPU, and
``--tiny`` shows in a minute that all of it runs. The record is one JSON file, written
whole; the book's page on speed is made from it.
"""

import argparse
import json
import os
import platform
import shlex
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import torch
from tqdm import tqdm

from benchmarks import gpu, growth, steps
from benchmarks.candidates import ALL, OURS, PEERS, SAMPLE, right
from benchmarks.inputs import KINDS, Inputs, cars196
from benchmarks.measure import beside_floor, peak_memory
from qsel.data.files import written_whole
from qsel.experiments import record as runs

RESULTS = Path(__file__).with_name("results")
# What is measured, whole and tiny.
WHOLE = dict(
    **dict(d=1024, share=1, repeats=3),
    **dict(source="synthcars", settings={}, epochs=2),
    **dict(growth_d=256, sizes=(8_000, 60_000, 500_000), references=(512, 2048)),
    **dict(large=60_000, counts=(128, 512, 2048, 8192)),
    **dict(million=1_000_000, million_d=128, asked=1000, probes=(8, 32, 128)),
    **dict(gpu_sizes=(8_000, 60_000, 1_000_000), gpu_d=1024, gpu_b=8_000),
)
TINY = dict(
    **dict(d=32, share=20, repeats=2),
    source="synthcars?images_per_model=2&size=16",
    settings=dict(weights=None, image_size=16, resize=16, embedding_dim=16),
    **dict(epochs=1, growth_d=16, sizes=(400, 800), references=(32,)),
    **dict(large=400, counts=(16, 64)),
    **dict(million=2_000, million_d=16, asked=50, probes=(1, 4)),
    **dict(gpu_sizes=(400, 800), gpu_d=16, gpu_b=64),
)


def main(arguments: list[str] | None = None) -> Path:
    """Measure and write the record; the path of it."""
    parser = argparse.ArgumentParser(prog="benchmarks.selection", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tiny", action="store_true", help="small sizes, no result")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here")
    torch.set_num_threads(options.threads)
    sizes = TINY if options.tiny else WHOLE
    words = ["python", "-m", "benchmarks.selection", "--device", options.device]
    words += ["--threads", str(options.threads), *["--tiny"] * options.tiny]
    libraries = ("faiss-cpu", "pytorch-metric-learning")
    record = {
        "command": shlex.join(words),
        "tiny": options.tiny,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(options.device),
        "threads": options.threads,
        "versions": runs.versions() | {name: version(name) for name in libraries},
        "sizes": sizes,
    }
    began = time.perf_counter()
    parts = cpu_parts(sizes) if options.device == "cpu" else gpu_parts(sizes)
    for name, part in parts.items():
        record[name] = list(tqdm(part, desc=name, unit="row"))
    record["minutes"] = round((time.perf_counter() - began) / 60, 1)
    folder = RESULTS / "tiny" if options.tiny else RESULTS
    path = folder / f"{options.device}.json"
    with written_whole(path) as unfinished:
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
        "steps": iter([steps.epochs(s.source, s.settings, s.epochs)]),
        "growth_n": growth.growth(product(s.sizes, s.references), s.growth_d),
        "growth_b": growth.growth(product([s.large], s.counts), s.growth_d),
        "approximate": growth.approximate(s.million, s.asked, s.million_d, s.probes),
    }


def gpu_parts(sizes: dict) -> dict[str, Iterator[dict]]:
    """The table of the GPU."""
    s = SimpleNamespace(**sizes)
    return {
        "selection": gpu.selection("cuda", s.gpu_sizes, s.gpu_b, s.gpu_d, s.repeats)
    }


def machine(device: str) -> str:
    """What kind of machine this is; never its name."""
    if device == "cuda":
        return torch.cuda.get_device_name()
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
        for name in OURS:
            yield _row(name, inputs, kind, s.repeats)
        unseen = cars196("test", kind, s.d, s.share, all_references=True)
        yield _row("recall", unseen, kind, s.repeats)


def _peers(s: SimpleNamespace) -> Iterator[dict]:
    inputs = cars196("train", "clustered", s.d, s.share)
    for name in PEERS:
        yield _row(name, inputs, "clustered", repeats=1)


def _row(name: str, inputs: Inputs, kind: str, repeats: int) -> dict:
    candidate = ALL[name]
    found, answer = beside_floor(inputs, candidate.run, repeats)
    return {
        **{"name": name, "title": candidate.title, "embeddings": kind},
        **{"n": len(inputs.fine), "b": len(inputs.references)},
        "d": inputs.embeddings.shape[1],
        "memory": peak_memory(name, inputs),
        **{"quadruplet": candidate.quadruplet, "target": candidate.target, **found},
        "right": right(name, inputs, answer),
        "checked": min(SAMPLE, len(inputs.references)),
    }


if __name__ == "__main__":
    main()
