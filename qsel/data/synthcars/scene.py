"""What surrounds a car: the view, the paint and light, the background, the camera.

A ``Scene`` is a canvas on which cars are drawn in metres: x runs from the tail (0) to
the nose (length), y up from the road, z from the near side (0) to the far side
(WIDTH).

A picture is the same on every x86 processor: between the random bits and the pixels
stand only sums, products, quotients and square roots, each of which IEEE 754 rounds
in one way. The last bit of ``np.power`` or ``math.sin`` depends on the processor or the
system's C library; ``power`` and ``cosine_sine`` replace them. On ARM, Pillow is
compiled to multiply and add in one step: there 29 values of 2.7 million differ, all
near the left margin, by 8 at most.
"""

from functools import lru_cache
from itertools import accumulate
from math import fsum, pi

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH = 1.75
SUPERSAMPLING = 4
Points = list[tuple[float, ...]]


class Scene:
    """A canvas, the view from which it is drawn and the colours that it uses."""

    def __init__(self, shape: dict, generator: np.random.Generator, size: int):
        self.generator = generator
        self.size = size
        self.side = size * SUPERSAMPLING
        self.image = Image.new("RGB", (self.side, self.side))
        self.draw = ImageDraw.Draw(self.image)
        uniform = self.uniform
        self.yaw = uniform(0.10, 0.40) * generator.choice((-1, 1))
        self.pitch = uniform(0.07, 0.17)
        self.turn = (cosine_sine(self.yaw), cosine_sine(self.pitch))
        self.mirror = bool(generator.integers(2))
        # A long car fills more of the picture, but not in proportion.
        metres = (0.55 * shape["length"] + 0.45 * 4.5) * 1.13
        self.zoom = self.side / metres * uniform(0.92, 1.02)
        self.middle = (shape["length"] / 2, shape["roof"] / 2, WIDTH / 2)
        self.centre = (self.side * (0.5 + uniform(-0.04, 0.04, 2))).tolist()
        paint = np.array(hsv(uniform(0, 1), uniform(0, 0.85), uniform(0.25, 1.0)))
        self.paint = paint
        self.light = uniform(0.75, 1.1)  # on the near side; the top gets more
        self.glass = np.full(3, uniform(25, 70)) + uniform(0, 40, 3) * (0.3, 0.6, 1)
        self.rim = uniform(165, 235)
        self.spin = uniform(0, 2 * pi)

    def uniform(self, low: float = 0.0, high: float = 1.0, count: int | None = None):
        """A random number, or ``count`` of them, from ``low`` to ``high``.

        The same as ``generator.uniform``, except on processors for which NumPy is
        compiled to multiply and add in one step: there that rounds once, not twice.
        """
        return low + (high - low) * self.generator.random(count)

    def flat(self, points: Points) -> Points:
        """Points in metres, as points on the canvas."""
        (cos_yaw, sin_yaw), (cos_pitch, sin_pitch) = self.turn
        across, down = self.centre
        (x0, y0, z0), flip = self.middle, -1 if self.mirror else 1
        canvas = []
        for x, y, z in points:
            right = (x - x0) * cos_yaw + (z - z0) * sin_yaw
            away = (z - z0) * cos_yaw - (x - x0) * sin_yaw
            up = (y - y0) * cos_pitch + away * sin_pitch
            zoom = self.zoom / (1 + 0.035 * away)  # what is nearer is larger
            canvas.append((across + flip * right * zoom, down - up * zoom))
        return canvas

    def polygon(self, points: Points, colour) -> None:
        """Fill a polygon that is given in metres."""
        self.draw.polygon(self.flat(points), fill=rgb(colour))

    def line(self, points: Points, colour, metres: float) -> None:
        """Draw a line that is so many metres wide."""
        width = max(1, round(metres * self.zoom))
        self.draw.line(self.flat(points), fill=rgb(colour), width=width)

    def faces_us(self, points: Points) -> bool:
        """Whether a face, four corners counter-clockwise, shows its outside."""
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = self.flat(points)
        area = (x2 - x0) * (y3 - y1) - (x3 - x1) * (y2 - y0)
        return (area < 0) != self.mirror


def rgb(colour) -> tuple[int, int, int]:
    """A colour that Pillow takes: three integers from 0 to 255."""
    return tuple(int(min(max(channel, 0), 255)) for channel in colour)


def hsv(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    """Red, green, blue of 0 … 255; hue, saturation and value run from 0 to 1."""
    wheel = np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1
    return tuple(255 * value * (1 - saturation * (1 - wheel.clip(0, 1))))


def rounded(points: Points, cut: float) -> Points:
    """Cut every corner of a closed outline twice, at most ``cut`` metres away."""
    outline = np.array(points, float)
    for _ in range(2):
        side = np.roll(outline, -1, axis=0) - outline
        length = np.sqrt((side**2).sum(axis=1, keepdims=True)).clip(1e-6)
        step = side / length * np.minimum(cut, 0.3 * length)
        corners = np.stack([outline + step, outline + side - step], axis=1)
        outline, cut = corners.reshape(-1, 2), cut * 0.4
    return [tuple(p) for p in outline.tolist()]


def at_depth(points: Points, z: float) -> Points:
    """Points of the side profile, z metres from the near side."""
    return [(x, y, z) for x, y in points]


def sweep(scene: Scene, outline: Points, near: float, far: float, colour) -> None:
    """The faces between an outline's near and far copy, those that can be seen."""
    following = outline[1:] + outline[:1]
    for (x0, y0), (x1, y1) in zip(outline, following, strict=True):
        face = [(x0, y0, near), (x1, y1, near), (x1, y1, far), (x0, y0, far)]
        if scene.faces_us(face):
            steep = abs(y1 - y0) / (abs(y1 - y0) + abs(x1 - x0) + 1e-9)
            scene.polygon(face, np.asarray(colour) * (1.18 - 0.36 * steep))


def disc(x, y, z, wide, tall, corners: int) -> Points:
    """A face across the car: an ellipse, or a rectangle if it has four corners."""
    if corners == 4:
        signs = ((-1, -1), (-1, 1), (1, 1), (1, -1))
        return [(x, y + tall * a, z + wide * b) for a, b in signs]
    return [(x, y + tall * sin, z + wide * cos) for cos, sin in circle(corners)]


# --- all that is not the car ----------------------------------------------------


def draw_background(scene: Scene) -> None:
    """Sky, things on the horizon, road, the car's shadow."""
    uniform, side = scene.uniform, scene.side
    horizon = side * uniform(0.35, 0.6)
    sky = np.array(hsv(uniform(0, 1), uniform(0, 0.4), uniform(0.45, 1.0)))
    below = np.array(hsv(uniform(0, 1), uniform(0, 0.3), uniform(0.25, 0.8)))
    for start, end, colour in ((0, horizon, sky), (horizon, side, below)):
        slope = uniform(-0.3, 0.3)
        for y in range(int(start), int(end) + 1, 4):
            tone = colour * (1 + slope * ((y - start) / (end - start + 1) - 0.5))
            scene.draw.rectangle((0, y, side, y + 4), fill=rgb(tone))
    for _ in range(scene.generator.integers(0, 6)):
        left, wide, tall = side * uniform(-0.1, 1), side * uniform(0.08, 0.3), 0
        tall = side * uniform(0.05, 0.35)
        box = (left, horizon - tall, left + wide, horizon)
        colour = rgb(hsv(uniform(0, 1), uniform(0, 0.5), uniform(0.2, 0.9)))
        if uniform() < 0.5:
            scene.draw.rectangle(box, fill=colour)
        else:
            scene.draw.ellipse((*box[:3], horizon + tall * 0.3), fill=colour)
    if uniform() < 0.4:
        y = side * uniform(0.75, 0.95)
        scene.draw.line((0, y, side, y + uniform(-9, 9)), fill=(235, 235, 225), width=5)
    length = scene.middle[0] * 2
    shadow = [(-0.1, 0.0, -0.25), (length + 0.1, 0.0, -0.25)]
    shadow += [(length, 0.0, WIDTH + 0.1), (0.0, 0.0, WIDTH + 0.1)]
    scene.polygon(shadow, below * uniform(0.25, 0.5))


def draw_occluder(scene: Scene) -> None:
    """Now and then a post or a bush before the car."""
    uniform, side = scene.uniform, scene.side
    if uniform() > 0.30:
        return
    colour = rgb(hsv(uniform(0, 1), uniform(0, 0.5), uniform(0.1, 0.7)))
    x = side * uniform(0, 1)
    if uniform() < 0.5:
        wide = side * uniform(0.02, 0.05)
        scene.draw.rectangle((x, 0, x + wide, side), fill=colour)
    else:
        reach = side * uniform(0.06, 0.14)
        y = side * uniform(0.72, 0.95)
        scene.draw.ellipse((x - reach, y - reach, x + reach, side), fill=colour)


def develop(scene: Scene) -> np.ndarray:
    """The canvas at its final size, with blur, light and noise."""
    generator, uniform = scene.generator, scene.uniform
    small = scene.image.reduce(SUPERSAMPLING)
    picture = small.filter(ImageFilter.GaussianBlur(uniform(0.0, 0.5)))
    pixels = np.asarray(picture, np.float32) / 255
    across = np.linspace(-0.5, 0.5, scene.size, dtype=np.float32)
    slope = uniform(-0.3, 0.3, 2).astype(np.float32)
    light = 1 + slope[0] * across[:, None] + slope[1] * across[None, :]
    pixels = power(pixels * light[..., None], uniform(0.75, 1.3))
    noise = generator.standard_normal(pixels.shape, np.float32)
    pixels = pixels + noise * np.float32(uniform(0.0, 0.025))
    return (pixels.clip(0, 1) * 255).round().astype(np.uint8)


# --- powers and angles, the same on every processor -------------------------------


def power(base: np.ndarray, exponent: float) -> np.ndarray:
    """``base ** exponent`` in float32, for 0 ≤ ``exponent`` < 2 rounded to 24 bits.

    The product of those of base, base^(1/2), base^(1/4), … that the binary digits of
    the exponent ask for.

    Example:
        >>> power(np.array([0.0, 0.25, 2.0], np.float32), 1.5).tolist()
        [0.0, 0.125, 2.8284270763397217]
    """
    digits = int(float(np.float32(exponent)) * 2**24)
    result, root = np.ones(base.shape), base.astype(np.float64)
    for place in range(24, -1, -1):
        if digits >> place & 1:
            result *= root
        np.sqrt(root, out=root)
    return result.astype(np.float32)


def cosine_sine(angle: float) -> tuple[float, float]:
    """Cosine and sine of an angle of at most one turn, from the series of exp(iφ).

    Example:
        >>> cosine, sine = cosine_sine(pi / 3)
        >>> round(cosine, 12), round(sine, 12)
        (0.5, 0.866025403784)
    """
    terms = list(accumulate(range(1, 40), lambda t, n: t * angle / n, initial=1.0))
    cosine = fsum(terms[0::4]) - fsum(terms[2::4])
    return cosine, fsum(terms[1::4]) - fsum(terms[3::4])


@lru_cache(64)
def circle(corners: int, start: float = 0.0) -> list[tuple[float, float]]:
    """Cosine and sine of so many angles, evenly spaced from ``start`` on.

    Example:
        >>> [(round(x), round(y)) for x, y in circle(4)]
        [(1, 0), (0, 1), (-1, 0), (0, -1)]
    """
    return [cosine_sine(start + 2 * pi * i / corners) for i in range(corners)]
