"""What a SynthCars model is: 22 body types, and 196 shapes within their ranges.

A body type is a row of ranges. A model is one point in its type's ranges, so two
models of a type look alike and still differ in things that can be measured on the
picture. Colour is no part of a shape.
"""

import numpy as np

# Metres for the car's length, belt, roof, ride (gap under the body), wheel (radius)
# and the two rakes (how far the glass leans); fractions of the length for hood, deck
# (boot or bed) and wheelbase; fractions of the belt for nose and tail height.
COMMON = {
    "wheelbase": (0.54, 0.64),
    "front_overhang": (0.13, 0.21),
    "belt": (0.82, 1.00),
    "nose": (0.66, 0.96),
    "tail": (0.80, 1.04),
    "nose_slant": (0.00, 0.22),
    "tail_slant": (0.00, 0.22),
    "roof_arch": (0.00, 0.10),
    "roof_drop": (0.00, 0.12),
    "ride": (0.14, 0.24),
    "wheel": (0.33, 0.41),
    "windscreen_rake": (0.45, 0.85),
    "rear_rake": (0.45, 0.85),
    "rear_pillar": (0.04, 0.22),
    "belt_kick": (-0.06, 0.16),
    "pillar": (0.40, 0.62),
    "pillar_width": (0.03, 0.14),
    "arch": (1.12, 1.38),
    "rim": (0.50, 0.80),
    "lamp_size": (0.55, 1.15),
    "lamp_height": (0.55, 0.88),
    "grille_size": (0.55, 1.00),
    "crease": (0.30, 0.85),
    "bumper": (0.06, 0.20),
    "roundness": (0.08, 0.25),
}
CHOICES = {
    "rim_style": (0, 1, 2, 3, 4, 5),  # disc, ring, 3, 5 and 8 spokes, holes
    "lamp": (0, 1, 2, 3),  # round, square, slim, tall
    "tail_lamp": (0, 1, 2, 3),  # square, slim, tall, round
    "grille": (0, 1, 2, 3, 4),  # none, slot, tall, two kidneys, trapezium
    "windows": (2, 3),
    "doors": (2, 4),
    "spoiler": (0, 0, 0, 1),  # none, lip, wing
    "rack": (0,),  # rails on the roof
    "scoop": (0, 0, 0, 1),  # on the hood
    "vent": (0, 0, 1, 2),  # behind the front wheel: none, slots, triangle
    "trim": (0, 0, 1, 2, 3),  # none, line on the side, dark sill, bright sill
    "spare": (0,),  # wheel on the tailgate
    "open": (0,),  # closed, no roof, roll cage, half a roof, roof with a step
}

# name: (models in the train half, in the test half, ranges of its own)
BODY_TYPES = {
    "sedan": (21, 25, dict(
        length=(4.3, 5.0), hood=(0.20, 0.31), deck=(0.09, 0.20), roof=(1.34, 1.56),
        doors=(4,))),
    "convertible": (15, 11, dict(
        length=(4.0, 4.7), hood=(0.24, 0.36), deck=(0.12, 0.28), roof=(1.22, 1.42),
        belt=(0.76, 0.92), open=(1,), doors=(2,), windows=(1,))),
    "suv": (13, 21, dict(
        length=(4.2, 4.9), hood=(0.18, 0.28), deck=(0.00, 0.02), roof=(1.68, 1.96),
        belt=(1.02, 1.24), ride=(0.25, 0.40), wheel=(0.38, 0.48), nose=(0.78, 1.0),
        rear_rake=(0.08, 0.55), windscreen_rake=(0.30, 0.70), rack=(0, 1),
        spoiler=(0, 1), doors=(4,))),
    "coupe": (13, 12, dict(
        length=(4.0, 4.6), hood=(0.25, 0.36), deck=(0.05, 0.16), roof=(1.22, 1.40),
        belt=(0.78, 0.94), rear_rake=(0.70, 1.15), doors=(2,), windows=(1, 2))),
    "pickup": (11, 6, dict(
        length=(4.8, 5.4), hood=(0.20, 0.29), deck=(0.36, 0.48), roof=(1.62, 1.86),
        belt=(1.02, 1.22), ride=(0.26, 0.42), wheel=(0.38, 0.48), nose=(0.84, 1.0),
        tail=(0.82, 1.08), rear_rake=(0.02, 0.16), windscreen_rake=(0.30, 0.60),
        roof_drop=(0.0, 0.03), doors=(2,), windows=(1, 2))),
    "wagon": (6, 0, dict(
        length=(4.5, 5.0), hood=(0.20, 0.28), deck=(0.00, 0.03), roof=(1.42, 1.58),
        rear_rake=(0.15, 0.60), rack=(0, 1), windows=(3,), doors=(4,))),
    "hatchback": (3, 10, dict(
        length=(3.5, 4.1), hood=(0.17, 0.27), deck=(0.00, 0.05), roof=(1.40, 1.60),
        rear_rake=(0.25, 0.75), spoiler=(0, 1))),
    "muscle car": (3, 0, dict(
        length=(4.6, 4.9), hood=(0.36, 0.42), deck=(0.12, 0.18), roof=(1.26, 1.36),
        belt=(0.88, 1.0), rear_pillar=(0.20, 0.36), scoop=(1,), doors=(2,),
        windows=(1,), wheel=(0.38, 0.43))),
    "van": (3, 4, dict(
        length=(4.7, 5.3), hood=(0.07, 0.16), deck=(0.00, 0.00), roof=(2.0, 2.3),
        belt=(1.05, 1.30), rear_rake=(0.02, 0.15), windscreen_rake=(0.5, 0.9),
        rear_pillar=(0.10, 0.60), nose=(0.72, 0.94), rack=(0, 1))),
    "minivan": (2, 4, dict(
        length=(4.5, 5.0), hood=(0.12, 0.18), deck=(0.00, 0.01), roof=(1.66, 1.84),
        rear_rake=(0.12, 0.45), windscreen_rake=(0.8, 1.2), windows=(3,),
        doors=(4,), rack=(0, 1))),
    "fastback": (2, 0, dict(
        length=(4.5, 4.8), hood=(0.27, 0.32), deck=(0.00, 0.02), roof=(1.32, 1.42),
        rear_rake=(1.5, 1.8), doors=(2, 4), spoiler=(0, 1))),
    "limousine": (1, 0, dict(
        length=(6.2, 6.4), hood=(0.18, 0.20), deck=(0.12, 0.14), roof=(1.44, 1.50),
        wheelbase=(0.68, 0.70), windows=(5,), doors=(4,))),
    "roadster": (1, 0, dict(
        length=(3.6, 3.8), hood=(0.40, 0.44), deck=(0.22, 0.26), roof=(1.10, 1.18),
        belt=(0.72, 0.78), open=(1,), doors=(2,), windows=(1,))),
    "buggy": (1, 0, dict(
        length=(3.4, 3.6), hood=(0.26, 0.30), deck=(0.14, 0.18), roof=(1.62, 1.70),
        belt=(0.84, 0.90), ride=(0.38, 0.42), wheel=(0.50, 0.54), open=(2,),
        doors=(2,), windows=(1,))),
    "supercar": (1, 0, dict(
        length=(4.4, 4.6), hood=(0.16, 0.20), deck=(0.22, 0.26), roof=(1.10, 1.16),
        belt=(0.74, 0.80), nose=(0.55, 0.60), windscreen_rake=(1.0, 1.2),
        rear_rake=(0.7, 0.9), doors=(2,), windows=(1,), ride=(0.10, 0.12))),
    "racer": (1, 0, dict(
        length=(4.4, 4.6), hood=(0.34, 0.38), deck=(0.10, 0.14), roof=(1.14, 1.20),
        belt=(0.74, 0.80), spoiler=(2,), doors=(2,), windows=(1,), ride=(0.08, 0.1))),
    "off-roader": (1, 0, dict(
        length=(3.8, 4.0), hood=(0.26, 0.30), deck=(0.00, 0.00), roof=(1.86, 1.96),
        belt=(1.18, 1.24), ride=(0.38, 0.42), wheel=(0.48, 0.52), nose=(0.94, 1.0),
        rear_rake=(0.0, 0.04), windscreen_rake=(0.06, 0.12), spare=(1,))),
    "microcar": (0, 1, dict(
        length=(2.7, 2.9), hood=(0.12, 0.16), deck=(0.00, 0.02), roof=(1.50, 1.58),
        rear_rake=(0.4, 0.5), roof_arch=(0.10, 0.14), doors=(2,), windows=(2,))),
    "crew cab": (0, 1, dict(
        length=(5.7, 5.9), hood=(0.18, 0.22), deck=(0.30, 0.34), roof=(1.80, 1.88),
        belt=(1.12, 1.20), ride=(0.36, 0.42), wheel=(0.46, 0.50), nose=(0.9, 1.0),
        rear_rake=(0.02, 0.10), doors=(4,), windows=(2,))),
    "shooting brake": (0, 1, dict(
        length=(4.5, 4.7), hood=(0.36, 0.40), deck=(0.00, 0.02), roof=(1.28, 1.34),
        belt=(0.82, 0.90), rear_rake=(0.3, 0.5), doors=(2,), windows=(2,))),
    "landaulet": (0, 1, dict(
        length=(4.9, 5.1), hood=(0.22, 0.25), deck=(0.12, 0.16), roof=(1.46, 1.52),
        windscreen_rake=(0.45, 0.5), rear_rake=(0.05, 0.1), open=(3,), doors=(4,),
        windows=(2,))),
    "camper": (0, 1, dict(
        length=(5.2, 5.4), hood=(0.06, 0.10), deck=(0.00, 0.00), roof=(2.1, 2.2),
        belt=(1.20, 1.30), rear_rake=(0.0, 0.05), open=(4,), windows=(3,))),
}  # fmt: skip


def body_shapes(body_type: str, seed: int) -> list[dict[str, float]]:
    """The shapes of all models of one type, train half first.

    Each is the best of many random points: the one furthest from the models that the
    type already has, so that no two siblings are twins.
    """
    train, test, own = BODY_TYPES[body_type]
    ranges = {**COMMON, **CHOICES, **own}
    numbers = [seed, list(BODY_TYPES).index(body_type)]
    generator = np.random.default_rng(numbers)
    points = generator.random((1, len(ranges)))
    while len(points) < train + test:
        candidates = generator.random((64, len(ranges)))
        # In whole millionths, so that no order of summing can change the choice.
        steps = np.rint((candidates[:, None] - points) * 1e6).astype(np.int64)
        apart = (steps**2).sum(axis=2).min(axis=1)  # squared
        points = np.vstack([points, candidates[apart.argmax()]])
    return [_shape(ranges, point) for point in points]


def _shape(ranges: dict[str, tuple], point: np.ndarray) -> dict[str, float]:
    shape = {}
    for (name, allowed), at in zip(ranges.items(), point.tolist(), strict=True):
        if name in CHOICES:
            shape[name] = allowed[int(at * len(allowed))]
        else:
            low, high = allowed
            shape[name] = low + (high - low) * at
    return shape
