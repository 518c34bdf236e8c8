"""SynthCars, the embedded data set: 196 car models in 22 body types, drawn in code.

Nothing is downloaded. Fine classes per coarse class, and the half that each stands
in, are those of Cars196 under its ``token22`` labels: 98 models to train on, 98 others
to test on, six body types of the train half with a single model. A model is a shape
(``carshapes``, ``cardrawing``); paint, view, place, background, light, occlusion, blur
and noise are drawn anew for every picture (``carscene``).

Pictures are drawn once and kept in the user's cache folder, or in the folder that
the environment variable ``QSEL_CACHE`` names. The file's name carries a hash of the
settings and of the drawing code, so a changed drawer never reads old pictures.
"""

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import PIL
from tqdm import tqdm

from qsel.data import cardrawing, carscene, carshapes
from qsel.data.loading import DataError, ImageSet
from qsel.data.splits import ZeroShot
from qsel.hierarchy import Hierarchy
from qsel.machine import available_cores
from qsel.storage import cache_path, load_or_make

SIZE = 48  # pixels
IMAGES_PER_MODEL = 40


def synthcars(
    seed: int = 0,
    size: int = SIZE,
    images_per_model: int = IMAGES_PER_MODEL,
    processes: int | None = None,
) -> ZeroShot:
    """SynthCars, from the cache or drawn now.

    Args:
        seed: another seed gives other models and other pictures of them.
        size: side of a picture in pixels, 16 to 256.
        images_per_model: pictures of each of the 196 models, at least 1.
        processes: how many draw; by default one for each core, up to eight. The
            pictures are the same for any number.

    Returns:
        98 models to train on and 98 others to test on; (3, size, size) uint8 images.

    Raises:
        DataError: a setting out of its range.

    Example:
        >>> cars = synthcars(size=16, images_per_model=1)
        >>> len(cars.train), tuple(cars.test[0].shape)
        (98, (3, 16, 16))
        >>> cars.train.hierarchy.coarse_names[:3]
        ('sedan', 'convertible', 'suv')
    """
    _check_whole("seed", seed, 0, 2**32 - 1)
    _check_whole("size", size, 16, 256)
    _check_whole("images_per_model", images_per_model, 1, 1000)
    if processes is not None:
        _check_whole("processes", processes, 1, 196)
    path = cache_file(seed, size, images_per_model)
    shape = (196 * images_per_model, size, size, 3)
    pixels = load_or_make(
        path,
        partial(_read, shape=shape),
        partial(draw, seed, size, images_per_model, processes),
        _write,
    )
    halves = np.split(pixels, 2)  # (98 * images_per_model, size, size, 3) each
    train, test = (
        ImageSet.from_array(f"synthcars {half}", part, labels(half, images_per_model))
        for half, part in zip(("train", "test"), halves, strict=True)
    )
    return ZeroShot("synthcars", train, test)


def labels(half: str, images_per_model: int) -> Hierarchy:
    """The two label levels of the "train" or the "test" half, model after model.

    Example:
        >>> half = labels("train", 2)
        >>> len(half), half.fine_names[0], len(half.coarse_names)
        (196, 'sedan 01', 17)
    """
    fine, coarse = [], []
    for name, number in _models(half):
        fine += [f"{name} {number + 1:02d}"] * images_per_model
        coarse += [name] * images_per_model
    return Hierarchy.from_names(fine, coarse)


def _models(half: str) -> list[tuple[str, int]]:
    """Body type and number within it of the 98 models of a half."""
    models = []
    for name, (train, test, _) in carshapes.BODY_TYPES.items():
        numbers = range(train) if half == "train" else range(train, train + test)
        models += [(name, number) for number in numbers]
    return models


def draw(
    seed: int, size: int, images_per_model: int, processes: int | None = None
) -> np.ndarray:
    """Draw all pictures, model after model.

    Returns:
        (196 * images_per_model, size, size, 3) uint8, train half first.
    """
    shapes = {name: carshapes.body_shapes(name, seed) for name in carshapes.BODY_TYPES}
    jobs = [
        dict(shape=shapes[name][number], seed=[seed, model], size=size)
        | dict(count=images_per_model)
        for model, (name, number) in enumerate(_models("train") + _models("test"))
    ]
    pixels = np.empty((len(jobs), images_per_model, size, size, 3), np.uint8)
    if processes is None:  # more than eight gain little; a handful is drawn sooner here
        few = len(jobs) * images_per_model < 1000
        processes = 1 if few else min(available_cores(), 8)
    with tqdm(total=len(jobs), desc="drawing SynthCars", unit="model", delay=2) as bar:
        if processes == 1:
            for model, job in enumerate(jobs):
                pixels[model] = cardrawing.draw_model(**job)
                bar.update()
        else:
            with ThreadPoolExecutor(processes) as pool:
                shares = [range(i, len(jobs), processes) for i in range(processes)]
                list(pool.map(lambda s: _draw_share(s, jobs, pixels, bar), shares))
    return pixels.reshape(-1, size, size, 3)


def _draw_share(share: range, jobs: list[dict], pixels: np.ndarray, bar: tqdm) -> None:
    """Let a child program draw some of the models.

    It reads them as JSON and answers in bytes. Unlike a process pool, this works from
    a script without a main guard, and beside running threads.
    """
    command = [sys.executable, "-P", "-m", cardrawing.__name__]
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    ) as drawer:
        drawer.stdin.write(json.dumps([jobs[model] for model in share]).encode())
        drawer.stdin.close()
        for model in share:
            drawn = drawer.stdout.read(pixels[model].nbytes)
            if len(drawn) < pixels[model].nbytes:
                raise RuntimeError("a drawing program ended early; it said why above")
            pixels[model] = np.frombuffer(drawn, np.uint8).reshape(pixels[model].shape)
            bar.update()


# --- the cache -------------------------------------------------------------------


def cache_file(seed: int, size: int, images_per_model: int) -> Path:
    """Where the pictures of these settings are kept."""
    key = hashlib.sha256()
    for module in (cardrawing, carscene, carshapes):
        key.update(Path(module.__file__).read_bytes())
    versions = [np.__version__, PIL.__version__]
    key.update(json.dumps([seed, size, images_per_model, *versions]).encode())
    return cache_path(f"synthcars-{key.hexdigest()[:16]}.npz")


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The cached pictures.

    Raises:
        ValueError: they have another shape or type.
    """
    with np.load(path, allow_pickle=False) as file:  # checks each entry's CRC-32
        pixels = file["pixels"]
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise ValueError(
            f"{pixels.dtype} of shape {pixels.shape} instead of uint8 of {shape}"
        )
    return pixels


def _write(pixels: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:  # to a name, numpy would add an ending
        np.savez(file, pixels=pixels)


def _check_whole(name: str, value: int, low: int, high: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not low <= value <= high:
        raise DataError(
            f"{name} is {value!r}; expected a whole number, {low} to {high}"
        )
