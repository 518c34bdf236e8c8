"""SynthCars, the embedded data set: 196 car models in 22 body types, drawn in code.

Nothing is downloaded. Fine classes per coarse class, and the half that each stands
in, are those of Cars196 under its ``token22`` labels: 98 models to train on, 98 others
to test on, six body types of the train half with a single model. A model is a shape
(``shapes``, ``drawing``); paint, view, place, background, light, occlusion, blur
and noise are drawn anew for every picture (``scene``).

Pictures are drawn once and kept in the user's cache folder, or in the folder that
the environment variable ``QSEL_CACHE`` names. The file's name carries a hash of all
that decides on a pixel: the settings, the drawing code, the versions of NumPy and
Pillow. The processor is not among them (``scene``).
"""

import hashlib
import json
import sys
from functools import partial
from multiprocessing import current_process
from pathlib import Path

import numpy as np
import PIL
from joblib import Parallel, delayed
from tqdm import tqdm

from qsel.data.files import cache_path, load_or_make
from qsel.data.images import DataError, ImageSet
from qsel.data.machine import available_cores
from qsel.data.splits import ZeroShot
from qsel.data.synthcars import bodywork, drawing, scene
from qsel.data.synthcars import shapes as carshapes
from qsel.hierarchy import Hierarchy

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
    if processes is None:  # more than eight gain little; a handful is drawn sooner here
        few = len(jobs) * images_per_model < 1000
        alone = few or current_process().daemon  # which may have no children
        processes = 1 if alone else min(available_cores(), 8)
    # Unlike a pool of the standard library's, this works without a main guard, too.
    parallel = Parallel(processes, return_as="generator", idle_worker_timeout=5)
    drawn = parallel(delayed(drawing.draw_model)(**job) for job in jobs)
    bar = dict(total=len(jobs), desc="drawing SynthCars", unit="model", delay=2)
    return np.concatenate(list(tqdm(drawn, **bar)))


# --- the cache -------------------------------------------------------------------


def cache_file(seed: int, size: int, images_per_model: int) -> Path:
    """Where the pictures of these settings are kept."""
    key = hashlib.sha256()
    for source in (bodywork, drawing, scene, carshapes, sys.modules[__name__]):
        key.update(Path(source.__file__).read_bytes())
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
