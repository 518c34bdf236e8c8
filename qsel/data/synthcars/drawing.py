"""One picture of one car: the shape is given, all else is drawn at random.

The car is a side profile, swept across its width, seen from a little in front or
behind and above; ``scene`` says in which coordinates.
"""

import numpy as np

from qsel.data.synthcars.bodywork import draw_ends, draw_side, draw_spoiler, draw_wheel
from qsel.data.synthcars.scene import (
    WIDTH,
    Points,
    Scene,
    at_depth,
    develop,
    draw_background,
    draw_occluder,
    rounded,
    sweep,
)


def draw_car(shape: dict, generator: np.random.Generator, size: int) -> np.ndarray:
    """One picture of a car of this shape.

    Args:
        shape: the measures of a model, see ``shapes``.
        generator: decides on paint, view, place, background, light, occlusion, blur
            and noise.
        size: side of the picture in pixels.

    Returns:
        (size, size, 3) uint8.
    """
    scene = Scene(shape, generator, size)
    draw_background(scene)
    draw_body(scene, shape)
    draw_occluder(scene)
    return develop(scene)


def measure(shape: dict) -> dict[str, float]:
    """Places along the car, in metres, that several parts are drawn from."""
    length, belt = shape["length"], shape["belt"]
    front_wheel = length * (1 - shape["front_overhang"])
    cowl = length * (1 - shape["hood"])
    rear_base = length * shape["deck"]
    roof_front = cowl - shape["windscreen_rake"]
    if shape["open"] == 3:  # the roof covers the front seats only
        rear_base = roof_front - 0.95
    return dict(
        front_wheel=front_wheel,
        rear_wheel=max(front_wheel - length * shape["wheelbase"], shape["wheel"] + 0.1),
        cowl=cowl,
        rear_base=rear_base,
        roof_front=roof_front,
        roof_rear=min(rear_base + shape["rear_rake"], roof_front - 0.35),
        nose=belt * shape["nose"],
        tail=belt * shape["tail"],
        inset=0.10 + 0.06 * (shape["roof"] < 1.6),
    )


def lower_body(shape: dict, at: dict) -> Points:
    """Outline of the body under the windows, from the tail over the top, clockwise."""
    length, belt, ride = shape["length"], shape["belt"], shape["ride"]
    bumper = shape["bumper"]
    tail = at["tail"] if at["rear_base"] > 0.3 else belt
    pickup = shape["deck"] > 0.29 and shape["roof"] > 1.6
    behind = tail if pickup else belt
    outline = [
        (0.10, ride + 0.06),
        (0.0, ride + 0.18),
        (0.0, ride + 0.18 + bumper),
        (shape["tail_slant"] * 0.5, tail),
        (max(at["rear_base"], 0.12 + shape["tail_slant"] * 0.5), behind),
        (at["cowl"], belt),
        (length - 0.12 - shape["nose_slant"], at["nose"]),
        (length - shape["nose_slant"] * 0.3, at["nose"] * 0.86),
        (length, ride + 0.18 + bumper),
        (length, ride + 0.14),
        (length - 0.12, ride),
    ]
    return rounded(outline, shape["roundness"])


def cabin(shape: dict, at: dict) -> Points:
    """Outline of roof and windows, from the rear base over the top, clockwise."""
    belt, roof = shape["belt"], shape["roof"]
    middle = (at["roof_front"] + at["roof_rear"]) / 2
    outline = [
        (at["rear_base"] + 0.02, belt - 0.04),
        (at["roof_rear"], roof - shape["roof_drop"]),
        (middle, roof + shape["roof_arch"]),
        (at["roof_front"], roof - shape["roof_drop"] * 0.3),
        (at["cowl"], belt - 0.04),
    ]
    return rounded(outline, 0.14)


def draw_body(scene: Scene, shape: dict) -> None:
    """The whole car, from what is furthest away to what is nearest."""
    at = measure(shape)
    side = scene.paint * scene.light
    top = scene.paint * scene.light * 1.12 + 12
    outline = lower_body(shape, at)
    for x in (at["rear_wheel"], at["front_wheel"]):
        draw_wheel(scene, shape, x, WIDTH - 0.2, far=True)
    sweep(scene, outline, 0.0, WIDTH, top)
    if shape["spare"]:
        centre, reach = 0.55 * shape["roof"], shape["wheel"] * 0.9
        box = [(-0.22, centre - reach), (-0.22, centre + reach), (0.02, centre + reach)]
        sweep(scene, box + [(0.02, centre - reach)], 0.4, 1.2, (30, 30, 30))
        scene.polygon(at_depth([*box, (0.02, centre - reach)], 0.4), (22, 22, 22))
    if shape["open"] in (1, 2):
        draw_open_top(scene, shape, at, side)
    else:
        draw_cabin(scene, shape, at, side, top)
    scene.polygon(at_depth(outline, 0.0), side)
    draw_ends(scene, shape, at)
    draw_side(scene, shape, at, side)
    for x in (at["rear_wheel"], at["front_wheel"]):
        draw_wheel(scene, shape, x, 0.0, far=False)
    draw_spoiler(scene, shape, at, side)


def draw_cabin(scene: Scene, shape: dict, at: dict, side, top) -> None:
    """Roof, front and rear glass, side windows, pillars, rails, a step in the roof."""
    outline, inset = cabin(shape, at), at["inset"]
    belt, roof = shape["belt"], shape["roof"]
    near, far = inset, WIDTH - inset
    sweep(scene, outline, near, far, top)
    front = [(at["roof_front"] + 0.06, roof - 0.12), (at["cowl"] - 0.04, belt)]
    rear = [(at["rear_base"] + 0.06, belt + 0.06), (at["roof_rear"] - 0.03, roof - 0.2)]
    for (x0, y0), (x1, y1) in (front, rear):
        glass = [(x0, y0, near + 0.1), (x1, y1, near + 0.06)]
        glass += [(x1, y1, far - 0.06), (x0, y0, far - 0.1)]
        if scene.faces_us(glass):
            scene.polygon(glass, scene.glass * 1.25)
    scene.polygon(at_depth(outline, near), side)
    if shape["open"] == 3:  # the rear half of the roof is folded down
        back = at["rear_base"]
        folded = [(back - 1.0, belt - 0.05), (back - 0.95, belt + 0.16)]
        folded += [(back - 0.6, belt + 0.22), (back - 0.5, belt - 0.05)]
        sweep(scene, folded, near, far, (70, 64, 62))
        scene.polygon(at_depth(folded, near), (58, 52, 50))
    if shape["open"] == 4:  # a bed above the driver
        bed = [(at["roof_front"] - 0.6, roof - 0.05), (at["cowl"] + 0.25, roof - 0.02)]
        bed += [(at["cowl"] + 0.2, roof + 0.4), (at["roof_front"] - 0.9, roof + 0.45)]
        sweep(scene, bed[::-1], near, far, top)
        scene.polygon(at_depth(bed, near), side)
    if shape["rack"]:
        rail = [(at["roof_rear"] + 0.1, roof + 0.12), (at["roof_front"], roof + 0.12)]
        scene.line(at_depth(rail, near), (40, 40, 45), 0.07)
        for x in (rail[0][0], rail[1][0]):
            post = [(x, roof + 0.12), (x, roof - 0.02)]
            scene.line(at_depth(post, near), (40, 40, 45), 0.07)
    draw_windows(scene, shape, at, side)


def draw_windows(scene: Scene, shape: dict, at: dict, side) -> None:
    """Side glass between the rear and the windscreen pillar, cut by the others."""
    belt, top = shape["belt"], shape["roof"] - 0.11
    z = at["inset"]
    back_low = at["rear_base"] + 0.10 + shape["rear_pillar"] * 2.2
    back_top = max(at["roof_rear"] + 0.04, back_low - 0.9) + shape["rear_pillar"]
    back_top = max(back_top, back_low - shape["rear_rake"])
    front_low, front_top = at["cowl"] - 0.16, at["roof_front"] + 0.02
    back_top = min(back_top, front_top - 0.3)
    back_low = min(back_low, front_low - 0.5)
    glass = [(back_low, belt + 0.02 + shape["belt_kick"]), (back_top, top)]
    glass += [(front_top, top), (front_low, belt + 0.02)]
    glass = rounded(glass, 0.07)
    scene.polygon(at_depth(glass, z), scene.glass)
    count = int(shape["windows"])
    for i in range(1, count):
        part = i / count if count != 2 else 1 - shape["pillar"]
        low = back_low + (front_low - back_low) * part
        lean = 0.10 if i == count - 1 else 0.0
        pillar = [(low, belt - 0.05), (low - lean, top + 0.05)]
        scene.line(at_depth(pillar, z), side * 0.9, shape["pillar_width"])


def draw_open_top(scene: Scene, shape: dict, at: dict, side) -> None:
    """Windscreen frame, seats and either a folded top or a roll cage."""
    belt, roof = shape["belt"], shape["roof"]
    back = max(at["rear_base"], 0.3)
    pit = [(back + 0.1, belt - 0.02), (at["cowl"] - 0.05, belt - 0.02)]
    floor = [(x, y, z) for z in (0.12, WIDTH - 0.12) for x, y in pit]
    scene.polygon([floor[0], floor[1], floor[3], floor[2]], (35, 32, 32))
    for z in (WIDTH - 0.55, 0.3):
        for seat in range(1 if shape["hood"] > 0.38 or shape["deck"] > 0.22 else 2):
            x = at["roof_front"] - 0.5 - 0.75 * seat
            top = belt + 0.24 - 0.06 * seat
            rest = [(x - 0.1, belt - 0.1), (x - 0.14, top), (x, top), (x + 0.1, belt)]
            scene.polygon(at_depth(rounded(rest, 0.05), z), (52, 44, 42))
    frame = [(at["cowl"] - 0.02, belt - 0.03), (at["roof_front"], roof)]
    near, far = 0.14, WIDTH - 0.14
    screen = [(x, y, z) for z in (near, far) for x, y in frame]
    screen = [screen[0], screen[1], screen[3], screen[2]]
    scene.polygon(screen, scene.glass * 1.7)
    scene.line([*screen, screen[0]], side * 0.7, 0.06)
    if shape["open"] == 2:
        cage = [frame[1], (back + 0.2, roof), (back, belt)]
        for z in (far, near):
            scene.line(at_depth(cage, z), (45, 45, 48), 0.10)
        middle = (at["roof_front"] + back) / 2
        post = [(middle, roof), (middle - 0.1, belt)]
        scene.line(at_depth(post, near), (45, 45, 48), 0.10)
    else:
        height = shape["rear_pillar"] * 1.3
        top = [(back - 0.25, belt - 0.05), (back - 0.05, belt + height)]
        top += [(back + 0.3, belt + height * 0.8), (back + 0.4, belt - 0.05)]
        sweep(scene, top, near, far, (70, 64, 62))
        scene.polygon(at_depth(top, near), (58, 52, 50))


def draw_model(shape: dict, seed: list[int], size: int, count: int) -> np.ndarray:
    """So many pictures of one model, (count, size, size, 3) uint8.

    Picture i has a generator of its own: it stays the same, whoever draws the others.
    """
    generators = (np.random.default_rng([*seed, i]) for i in range(count))
    return np.stack([draw_car(shape, generator, size) for generator in generators])
