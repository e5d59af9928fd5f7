"""Takes the photograph of the demo: a still life before a brick wall, by tracing the paths of light.

    python examples/photograph.py examples/photograph.jpg

Nothing is copied from anybody: objects, textures and light are the formulas below, so the picture has the licence of
this repository. It is made like a photograph all the same: light from a window and the sky that bounces between the
things, a lens with an aperture (what is nearer or farther than the focus is blurred), and the grain of a film.

Units are metres; x goes right, y up, z away from the camera. Arrays of points and directions have shape (rays, 3).
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]

WIDTH, HEIGHT = 640, 480
SAMPLES = 120
"""Paths of light for each pixel."""
BOUNCES = 4

EYE = np.array([0.0, 0.62, -2.1])
TARGET = np.array([0.0, 0.27, 0.25])
FOCUS = 2.2
APERTURE = 0.012
WINDOW_CENTRE = np.array([-2.6, 2.7, -1.2])
WINDOW_SIZE = 0.45
WINDOW_LIGHT = np.array([62.0, 54.0, 42.0])
WALL = 1.15
"""Distance of the wall."""

# centre, radius, kind: the kinds are those of `material`.
SPHERES = [
    (np.array([-0.42, 0.205, 0.10]), 0.205, "orange"),
    (np.array([0.02, 0.155, -0.22]), 0.155, "steel"),
    (np.array([0.30, 0.12, -0.42]), 0.12, "apple"),
    (np.array([-0.22, 0.07, -0.52]), 0.07, "marble"),
]
CYLINDER = (np.array([0.58, 0.0, 0.30]), 0.19, 0.46)
"""Centre of the base, radius and height of the mug."""
BOX = (np.array([0.08, 0.0, 0.62]), np.array([0.46, 0.10, 0.30]), 0.35)
"""Centre of the base, half of the size (the height is whole), and turn in radians, of the lower book."""
BOX_2 = (np.array([0.02, 0.10, 0.62]), np.array([0.36, 0.08, 0.24]), 0.12)
FAR = 1e9


def unit(v: Array) -> Array:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def hash_noise(i: Array, j: Array, seed: int) -> Array:
    """A number from 0 to 1 for each pair of whole numbers."""
    n = np.sin(i * 127.1 + j * 311.7 + seed * 74.7) * 43758.5453
    return n - np.floor(n)


def noise(u: Array, v: Array, seed: int = 0) -> Array:
    """Smooth noise from 0 to 1."""
    i, j = np.floor(u), np.floor(v)
    a, b = u - i, v - j
    a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
    low = hash_noise(i, j, seed) * (1 - a) + hash_noise(i + 1, j, seed) * a
    high = hash_noise(i, j + 1, seed) * (1 - a) + hash_noise(i + 1, j + 1, seed) * a
    return low * (1 - b) + high * b


def rotated(v: Array, angle: float) -> Array:
    """Turned around the y axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c * v[:, 0] + s * v[:, 2], v[:, 1], -s * v[:, 0] + c * v[:, 2]], axis=1)


def hit(origin: Array, way: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """How far each ray goes, the normal where it ends, and what it meets (an index into KINDS; -1 is the sky)."""
    count = len(origin)
    best = np.full(count, FAR)
    normal = np.zeros((count, 3))
    what = np.full(count, -1)

    def take(distance: Array, normals: Array, kind: str) -> None:
        nearer = (distance > 1e-4) & (distance < best)
        best[nearer] = distance[nearer]
        normal[nearer] = normals[nearer]
        what[nearer] = KINDS.index(kind)

    with np.errstate(divide="ignore", invalid="ignore"):
        take(-origin[:, 1] / way[:, 1], np.tile([0.0, 1.0, 0.0], (count, 1)), "table")
        take((WALL - origin[:, 2]) / way[:, 2], np.tile([0.0, 0.0, -1.0], (count, 1)), "wall")
        for centre, radius, kind in SPHERES:
            to = origin - centre
            b = (to * way).sum(1)
            root = np.sqrt(b * b - (to * to).sum(1) + radius * radius)
            near = np.where(-b - root > 1e-4, -b - root, -b + root)
            near = np.where(np.isnan(near), FAR, near)
            take(near, (to + near[:, None] * way) / radius, kind)
        base, radius, height = CYLINDER
        to = origin - base
        a = way[:, 0] ** 2 + way[:, 2] ** 2
        b = to[:, 0] * way[:, 0] + to[:, 2] * way[:, 2]
        root = np.sqrt(b * b - a * (to[:, 0] ** 2 + to[:, 2] ** 2 - radius * radius))
        for side in (-1.0, 1.0):
            along = np.nan_to_num((-b + side * root) / a, nan=FAR, posinf=FAR, neginf=FAR)
            place = to + along[:, None] * way
            inside = (place[:, 1] > 0) & (place[:, 1] < height)
            outward = place * [1.0, 0.0, 1.0] / radius
            facing = np.where(((outward * way).sum(1) > 0)[:, None], -outward, outward)
            take(np.where(inside, along, FAR), facing, "mug")
        for (base, half, angle), kind in ((BOX, "book"), (BOX_2, "book 2")):
            o, d = rotated(origin - base, angle), rotated(way, angle)
            low, high = np.array([-half[0], 0.0, -half[2]]), np.array([half[0], half[1], half[2]])
            first, second = (low - o) / d, (high - o) / d
            entries, exits = np.minimum(first, second), np.maximum(first, second)
            axis = entries.argmax(1)
            enter = entries.max(1)
            normals = np.zeros((count, 3))
            normals[np.arange(count), axis] = -np.sign(d[np.arange(count), axis])
            take(np.where(enter < exits.min(1), enter, FAR), rotated(normals, -angle), kind)
    return best, normal, what


KINDS = ["table", "wall", "orange", "steel", "apple", "marble", "mug", "book", "book 2"]


def material(place: Array, normal: Array, what: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """Colour, part that is mirrored, and normal with the roughness of the surface."""
    colour = np.zeros_like(place)
    mirror = np.zeros(len(place))
    bent = normal.copy()

    def at(kind: str) -> NDArray[np.bool_]:
        return what == KINDS.index(kind)

    m = at("table")  # planks of wood, 17 cm wide
    x, z = place[m, 0], place[m, 2]
    plank = np.floor(x / 0.17 + 0.35)
    gap = np.abs(x / 0.17 + 0.35 - plank - 0.5) > 0.478
    rings = np.sin(55 * (x + 0.05 * noise(3 * x, 1.5 * z + 9 * plank, 1)) + 9 * noise(2 * x + plank, 1.2 * z, 2))
    shade = 0.72 + 0.16 * hash_noise(plank, plank * 0, 3) + 0.10 * rings + 0.1 * noise(90 * x, 5 * z, 4)
    shade = np.where(gap, 0.18, shade)
    colour[m] = shade[:, None] * [0.50, 0.31, 0.17]
    mirror[m] = 0.04

    m = at("wall")  # bricks of 26 x 8 cm with their mortar
    x, y = place[m, 0], place[m, 1]
    row = np.floor(y / 0.095)
    column = np.floor(x / 0.26 + 0.5 * (row % 2))
    u = x / 0.26 + 0.5 * (row % 2) - column
    v = y / 0.095 - row
    edge = 0.02 * noise(14 * x, 14 * y, 5)
    mortar = (u < 0.025 + edge) | (u > 0.975 - edge) | (v < 0.07 + 2 * edge) | (v > 0.93 - 2 * edge)
    tone = 0.55 + 0.5 * hash_noise(column, row, 6) + 0.25 * noise(40 * x, 40 * y, 7)
    colour[m] = np.where(mortar[:, None], [0.55, 0.53, 0.50], tone[:, None] * [0.48, 0.22, 0.15])

    m = at("orange")
    around, up = np.arctan2(normal[m, 2], normal[m, 0]), np.arcsin(np.clip(normal[m, 1], -1, 1))
    pores = np.stack([noise(30 * around, 30 * up, s) - 0.5 for s in (8, 9, 10)], axis=1)
    bent[m] = unit(normal[m] + 0.16 * pores)
    colour[m] = np.array([0.85, 0.36, 0.04]) * (0.9 + 0.2 * noise(4 * around, 4 * up, 11))[:, None]
    mirror[m] = 0.05
    m = at("apple")
    around, up = np.arctan2(normal[m, 2], normal[m, 0]), normal[m, 1]
    blush = np.clip(noise(2 * around + 1, 1.5 * up, 12) * 1.5 - 0.35, 0, 1)[:, None]
    streak = 0.85 + 0.3 * noise(40 * around, 3 * up, 13)[:, None]
    colour[m] = (blush * [0.62, 0.07, 0.05] + (1 - blush) * [0.45, 0.55, 0.10]) * streak
    mirror[m] = 0.08
    m = at("marble")
    veins = np.sin(22 * place[m, 0] + 60 * place[m, 1] + 9 * noise(20 * place[m, 0], 20 * place[m, 2], 14))
    colour[m] = np.where(veins[:, None] > 0.1, [0.10, 0.20, 0.55], [0.85, 0.85, 0.82])
    mirror[m] = 0.10
    m = at("steel")
    colour[m] = [0.80, 0.81, 0.83]
    mirror[m] = 0.88
    m = at("mug")  # white enamel with a blue rim and stripe
    y = place[m, 1]
    blue = (y > 0.435) | ((y > 0.20) & (y < 0.26)) | ((y > 0.285) & (y < 0.30))
    colour[m] = np.where(blue[:, None], [0.07, 0.14, 0.40], [0.86, 0.85, 0.80])
    mirror[m] = 0.06
    for kind, low, high, cover in (
        ("book", 0.0, 0.10, [0.10, 0.25, 0.20]),
        ("book 2", 0.10, 0.18, [0.45, 0.10, 0.10]),
    ):
        m = at(kind)
        y = place[m, 1]
        pages = (y > low + 0.014) & (y < high - 0.014)
        sheet = 0.75 + 0.2 * hash_noise(np.floor(y * 600), y * 0, 15)
        colour[m] = np.where(pages[:, None], sheet[:, None] * [0.90, 0.86, 0.74], cover)
        mirror[m] = np.where(pages, 0.0, 0.04)
    return colour, mirror, bent


def sky(way: Array) -> Array:
    up = np.clip(0.5 + 0.5 * way[:, 1:2], 0, 1)
    return 0.30 * (up * [0.65, 0.78, 1.0] + (1 - up) * [0.75, 0.70, 0.62])


def traced(origin: Array, way: Array, random: np.random.Generator) -> Array:
    """The light that comes along each ray."""
    light = np.zeros_like(origin)
    weight = np.ones_like(origin)
    alive = np.arange(len(origin))
    for bounce in range(BOUNCES):
        distance, normal, what = hit(origin, way)
        gone = what < 0
        light[alive[gone]] += weight[gone] * sky(way[gone])
        stays = ~gone
        alive, origin, way, weight = alive[stays], origin[stays], way[stays], weight[stays]
        distance, normal, what = distance[stays], normal[stays], what[stays]
        if not len(alive):
            break
        place = origin + distance[:, None] * way
        colour, mirror, normal = material(place, normal, what)
        cosine = np.clip(-(way * normal).sum(1), 0, 1)
        shine = mirror + (1 - mirror) * (mirror > 0) * (1 - cosine) ** 5
        mirrored = random.random(len(alive)) < shine
        steel = what == KINDS.index("steel")
        weight = weight * np.where((mirrored & ~steel)[:, None], 1.0, colour)

        # Light that comes from the window straight away.
        spot = WINDOW_CENTRE + random.uniform(-WINDOW_SIZE, WINDOW_SIZE, (len(alive), 3)) * [1.0, 1.0, 0.2]
        to = spot - place
        far = np.linalg.norm(to, axis=1)
        to /= far[:, None]
        facing = np.clip((to * normal).sum(1), 0, None)
        ask = ~mirrored & (facing > 0)
        blocked, _, _ = hit(place[ask] + 1e-3 * normal[ask], to[ask])
        seen = np.zeros(len(alive))
        seen[ask] = blocked > far[ask]
        light[alive] += weight * WINDOW_LIGHT * (seen * facing / (4 * far**2))[:, None]

        spread = random.normal(size=(len(alive), 3))
        scattered = unit(normal + unit(spread))
        rough = unit(way - 2 * (way * normal).sum(1)[:, None] * normal + 0.015 * spread)
        way = np.where(mirrored[:, None], rough, scattered)
        # The window itself, in what mirrors.
        glare = mirrored & (np.linalg.norm(np.cross(WINDOW_CENTRE - place, way), axis=1) < WINDOW_SIZE)
        glare &= ((WINDOW_CENTRE - place) * way).sum(1) > 0
        light[alive[glare]] += weight[glare] * 2.5 * (bounce < 2)
        origin = place + 1e-3 * normal
    return light


def photograph(samples: int = SAMPLES, seed: int = 1) -> Image.Image:
    """The picture, WIDTH x HEIGHT pixels, RGB."""
    random = np.random.default_rng(seed)
    forward = unit(TARGET - EYE)
    right = unit(np.cross([0.0, 1.0, 0.0], forward))
    upward = np.cross(forward, right)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    total = np.zeros((HEIGHT * WIDTH, 3))
    for _ in range(samples):
        x = (columns.ravel() + random.random(total.shape[0]) - WIDTH / 2) / WIDTH
        y = (HEIGHT / 2 - rows.ravel() - random.random(total.shape[0])) / WIDTH
        focus = EYE + FOCUS * (forward + 0.82 * x[:, None] * right + 0.82 * y[:, None] * upward)
        angle = random.uniform(0, 2 * np.pi, total.shape[0])
        radius = APERTURE * np.sqrt(random.random(total.shape[0]))
        origin = EYE + radius[:, None] * (np.cos(angle)[:, None] * right + np.sin(angle)[:, None] * upward)
        total += np.minimum(traced(origin, unit(focus - origin), random), 4.0)
    light = (total / samples).reshape(HEIGHT, WIDTH, 3)
    off_centre = ((columns - WIDTH / 2) ** 2 + (rows - HEIGHT / 2) ** 2) / (WIDTH / 2) ** 2
    light *= (1 - 0.16 * off_centre)[:, :, None]
    tone = (1 - np.exp(-1.25 * light)) ** (1 / 2.2)  # the film saturates
    tone = 0.3 * tone + 0.7 * tone * tone * (3 - 2 * tone)  # and is steepest in the middle
    pixels = 255 * tone
    pixels += random.normal(0, 2.2, (HEIGHT, WIDTH, 1)) + random.normal(0, 1.2, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).round().astype(np.uint8), "RGB")


if __name__ == "__main__":
    photograph().save(sys.argv[1], quality=86)
