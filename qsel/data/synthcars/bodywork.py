"""What is mounted on the body of a car: lamps, grille, doors, wheels, spoiler."""

from qsel.data.synthcars.scene import (
    WIDTH,
    Points,
    Scene,
    at_depth,
    circle,
    disc,
    sweep,
)


def draw_ends(scene: Scene, shape: dict, at: dict) -> None:
    """Lamps, grille and number plate, on the end that is turned to us."""
    length, ride, height = shape["length"], shape["ride"], at["nose"]
    bright, red = (250, 246, 220), (190, 25, 25)
    size = 0.20 * shape["lamp_size"]
    y = ride + (height - ride) * shape["lamp_height"]
    wide, tall = ((1, 1), (1.15, 0.9), (1.9, 0.5), (0.7, 1.7))[int(shape["lamp"])]
    w, h = size * wide, size * tall
    x = length - shape["nose_slant"] * 0.35 + 0.01
    if scene.yaw > 0:
        for z in (0.12 + w, WIDTH - 0.12 - w):
            scene.polygon(disc(x, y, z, w, h, 12 if shape["lamp"] == 0 else 4), bright)
        draw_grille(scene, shape, length + 0.01, y)
        band = [(length + 0.01, ride + 0.2, z) for z in (0.1, WIDTH - 0.1)]
        scene.line(band, (48, 48, 52), shape["bumper"])
    # What of the lamps is seen from the side.
    side = [(x - 0.12 - w, y - h), (x - 0.12 - w * 1.2, y + h), (x - 0.1, y + h * 0.8)]
    scene.polygon(at_depth([*side, (x - 0.04, y - h * 0.8)], -0.01), bright)
    tail = max(shape["belt"] * 0.8, at["tail"] * 0.85)
    kind = int(shape["tail_lamp"])
    wide, tall = ((1, 1), (2.1, 0.55), (0.65, 2.0), (1.1, 1.1))[kind]
    w, h = 0.14 * wide, 0.14 * tall
    if scene.yaw < 0:
        for z in (0.1 + w, WIDTH - 0.1 - w):
            scene.polygon(disc(-0.01, tail - h, z, w, h, 12 if kind == 3 else 4), red)
        plate = disc(-0.01, ride + 0.42, WIDTH / 2, 0.3, 0.09, 4)
        scene.polygon(plate, (225, 225, 215))
        band = [(-0.01, ride + 0.2, z) for z in (0.1, WIDTH - 0.1)]
        scene.line(band, (48, 48, 52), shape["bumper"])
    side = [(0.06, tail), (0.06, tail - 2 * h), (0.1 + w, tail - 2 * h)]
    scene.polygon(at_depth([*side, (0.1 + w * 1.2, tail)], -0.01), red)


def draw_grille(scene: Scene, shape: dict, x: float, lamp: float) -> None:
    """The mouth of the car, in one of five forms."""
    size, kind = shape["grille_size"], int(shape["grille"])
    y, z = lamp - 0.12, WIDTH / 2
    dark, chrome = (24, 24, 28), (200, 200, 205)
    if kind == 1:
        scene.polygon(disc(x, y, z, 0.42 * size, 0.09, 4), dark)
    elif kind == 2:
        scene.polygon(disc(x, y, z, 0.32 * size, 0.26 * size, 4), chrome)
        scene.polygon(disc(x, y, z, 0.24 * size, 0.20 * size, 4), dark)
    elif kind == 3:
        for shift in (-0.2, 0.2):
            scene.polygon(disc(x, y, z + shift, 0.15 * size, 0.2 * size, 12), dark)
    elif kind == 4:
        mouth = [
            (x, y + 0.2 * size, z - 0.5 * size),
            (x, y + 0.2 * size, z + 0.5 * size),
        ]
        mouth += [(x, y - 0.25, z + 0.25 * size), (x, y - 0.25, z - 0.25 * size)]
        scene.polygon(mouth, dark)


def draw_side(scene: Scene, shape: dict, at: dict, side) -> None:
    """Door lines, handles, trim, vents, scoop and mirror."""
    belt, ride, z = shape["belt"], shape["ride"], -0.005
    dark = side * 0.45
    back, front = at["rear_wheel"] + shape["wheel"], at["front_wheel"] - shape["wheel"]
    low = ride + 0.12
    hinge = min(at["cowl"] - 0.12, front + 0.1)
    first = at["rear_base"] + (at["cowl"] - at["rear_base"]) * (1 - shape["pillar"])
    if shape["doors"] == 2:
        first -= 0.25
    first = max(first, back + 0.25)
    rear_edge = max(at["rear_base"] + 0.3, back - 0.15)
    edges = [hinge, first] + ([rear_edge] if shape["doors"] == 4 else [])
    for x in edges:
        scene.line([(x, belt - 0.03, z), (x, low, z)], dark, 0.04)
    scene.line([(edges[-1], low, z), (hinge, low, z)], dark, 0.04)
    for x in edges[1:]:
        handle = [(x + 0.08, belt * 0.86, z), (x + 0.30, belt * 0.86, z)]
        scene.line(handle, (215, 215, 215), 0.05)
    y = ride + (belt - ride) * shape["crease"]
    line = [(0.25, y, z), (shape["length"] - 0.4, y * 0.97, z)]
    trim = int(shape["trim"])
    if trim == 0:
        scene.line(line, side * 0.8, 0.035)
    elif trim == 1:
        scene.line(line, (28, 28, 30), 0.10)
    else:
        sill = [(back, ride + 0.08, z), (front, ride + 0.08, z)]
        scene.line(sill, (25, 25, 28) if trim == 2 else (205, 205, 210), 0.16)
    if shape["vent"] and front - hinge < 0.6:
        x, y = front - 0.05, belt * 0.72
        if shape["vent"] == 1:
            for step in (0.0, 0.1, 0.2):
                slot = [(x - step, y - 0.1, z), (x - step, y + 0.1, z)]
                scene.line(slot, (25, 25, 28), 0.05)
        else:
            gill = [(x - 0.25, y - 0.1, z), (x - 0.25, y + 0.12, z), (x, y, z)]
            scene.polygon(gill, (25, 25, 28))
    if shape["scoop"]:
        x = (at["cowl"] + shape["length"]) / 2
        y = (belt + at["nose"]) / 2
        box = [(x - 0.3, y), (x - 0.28, y + 0.06), (x + 0.2, y + 0.13), (x + 0.22, y)]
        sweep(scene, box, 0.55, 1.2, side * 0.8)
        scene.polygon(at_depth(box, 0.55), side * 0.7)
    mirror = disc(at["cowl"] - 0.25, belt + 0.08, -0.08, 0.07, 0.07, 4)
    shift = [(mx - 0.12, my, mz) for mx, my, mz in mirror[:2]]
    scene.polygon([*mirror[:2], *shift[::-1]], side * 0.75)


def draw_wheel(scene: Scene, shape: dict, x: float, z: float, far: bool) -> None:
    """A tyre in its arch, with one of six rims."""
    radius = shape["wheel"]

    def ring(reach: float, corners: int = 28, turn: float = 0.0) -> Points:
        around = circle(corners, turn)
        return [(x + reach * c, radius + reach * s, z - 0.01) for c, s in around]

    if far:
        scene.polygon(ring(radius), (18, 18, 18))
        return
    top = 0.93 * min(shape["nose"], shape["tail"]) * shape["belt"]
    arch = ring(radius * shape["arch"])
    arch = [(px, min(py, top), pz) for px, py, pz in arch if py > shape["ride"]]
    scene.polygon(arch, (14, 14, 16))
    scene.polygon(ring(radius), (34, 34, 36))
    rim, style = radius * shape["rim"], int(shape["rim_style"])
    metal, hole = (scene.rim,) * 3, (48, 48, 52)
    scene.polygon(ring(rim), metal if style in (0, 1, 5) else hole)
    if style == 1:
        scene.polygon(ring(rim * 0.66), hole)
    elif style == 5:
        for p in ring(rim * 0.62, 5, scene.spin):
            hub = [(p[0] + dx, p[1] + dy, p[2]) for dx, dy in diamond(rim * 0.24)]
            scene.polygon(hub, hole)
    elif style in (2, 3, 4):
        count, wide = {2: (3, 0.16), 3: (5, 0.10), 4: (8, 0.055)}[style]
        for p in ring(rim, count, scene.spin):
            scene.line([(x, radius, z - 0.01), p], metal, wide * radius / 0.36)
        scene.polygon(ring(rim * 0.25), metal)


def diamond(reach: float) -> Points:
    """Four corners around nought."""
    return [(reach, 0), (0, reach), (-reach, 0), (0, -reach)]


def draw_spoiler(scene: Scene, shape: dict, at: dict, side) -> None:
    """A lip or a wing, at the roof's end of tall cars, else on the boot."""
    if not shape["spoiler"]:
        return
    tall = shape["deck"] < 0.06
    x = at["roof_rear"] if tall else 0.15
    y = shape["roof"] - shape["roof_drop"] if tall else max(at["tail"], 0.7)
    rise = 0.05 if shape["spoiler"] == 1 else 0.26
    blade = [(x - 0.22, y + rise + 0.08), (x + 0.2, y + rise)]
    blade += [(x + 0.2, y + rise - 0.07), (x - 0.22, y + rise - 0.02)]
    sweep(scene, blade, 0.15, WIDTH - 0.15, side * 0.9)
    scene.polygon(at_depth(blade, 0.15), side * 0.65)
    if shape["spoiler"] == 2:
        post = [(x, y + rise, 0.4), (x, y - 0.05, 0.4)]
        scene.line(post, side * 0.5, 0.08)
