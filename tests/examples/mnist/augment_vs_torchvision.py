"""Compares the C++ augmentation with torchvision on 8-bit PIL images, pixel for pixel.

Usage: augment_vs_torchvision.py AUGMENT_ORACLE
Exit status: 0 all equal, 1 something differs, 77 torchvision or PIL is not installed.
"""

import random
import subprocess
import sys

try:
    import numpy as np
    import torch
    from PIL import Image
    from torchvision import transforms
    from torchvision.transforms import functional as F
except ImportError as error:
    print(f"skipped: {error} (needs python3-torchvision and python3-pil)")
    sys.exit(77)

SIZES = [(28, 28), (1, 1), (1, 7), (7, 1), (31, 33), (33, 31), (65, 40), (2, 3)]
MEAN, STD = 0.1307, 0.3081


def noise_image(rng, height, width):
    return rng.integers(0, 256, (height, width), dtype=np.uint8)


def affine_case(rng, size, angle, translate, scale, shear=(0.0, 0.0), fill=0):
    height, width = size
    pixels = noise_image(rng, height, width)
    numbers = [angle, *translate, scale, *shear, fill]
    request = f"affine {height} {width} {' '.join(map(repr, numbers))} {pixels.tobytes().hex()}"
    expected = F.affine(Image.fromarray(pixels), angle, list(translate), scale, list(shear), fill=fill)
    return request, np.asarray(expected).tobytes().hex()


def special_affine_cases(rng):
    for size in SIZES:
        for angle in (0.0, 45.0, 90.0, -90.0, 180.0, 270.0, 360.0, 1e-5, -1e-12):
            for translate in ((0, 0), (1, -2), (-3, 2), (1000, 0), (0, -40000)):
                for scale in (1.0, 0.5, 2.0, 1.1, 1 / 3):
                    yield affine_case(rng, size, angle, translate, scale)
    # Beyond the range of 16.16 fixed point, where PIL computes in doubles.
    for angle, scale in ((30.0, 1e-3), (90.0, 4e-4), (200.0, 2e-5), (10.0, 1e-9)):
        for translate in ((0, 0), (3, -1), (20, 14)):
            yield affine_case(rng, (31, 33), angle, translate, scale)
    for size in ((3, 40000), (40000, 2)):
        for angle in (1e-3, -1e-3, 180.001):
            yield affine_case(rng, size, angle, (5, 0), 1.01)


def recipe_affine_cases(rng, draws, count):
    """What RandomAffine(20, translate=(0.1, 0.1), scale=(0.9, 1.1)) draws on 28x28."""
    for _ in range(count):
        translate = (draws.randint(-3, 3), draws.randint(-3, 3))
        yield affine_case(rng, (28, 28), draws.uniform(-20, 20), translate, draws.uniform(0.9, 1.1))


def general_affine_cases(rng, draws, count):
    for _ in range(count):
        size = draws.choice(SIZES)
        translate = (draws.randint(-40, 40), draws.randint(-40, 40))
        if draws.random() < 0.5:
            translate = (draws.randint(-3, 3), draws.randint(-3, 3))
        shear = draws.choice([(0.0, 0.0), (draws.uniform(-60, 60), 0.0), (draws.uniform(-60, 60), draws.uniform(-60, 60))])
        angle = draws.choice([0.0, draws.uniform(-180, 180), draws.uniform(-400, 400)])
        yield affine_case(rng, size, angle, translate, draws.uniform(0.2, 3), shear, draws.choice([0, 255, 17]))


def jitter_case(rng, draws, pixels):
    """ColorJitter's four operations in a random order, each as torchvision does it."""
    order = draws.sample(range(4), 4)
    limit = draws.choice([0.1, 0.2, 1.0, 3.0])
    factors = [draws.choice([1.0, max(0.0, draws.uniform(1 - limit, 1 + limit))]) for _ in range(3)]
    factors.append(draws.uniform(-0.5, 0.5))
    operations = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue]
    expected = Image.fromarray(pixels)
    for op in order:
        expected = operations[op](expected, factors[op])
    request = f"jitter {' '.join(map(str, order))} {factors[0]!r} {factors[1]!r} {pixels.tobytes().hex()}"
    return request, np.asarray(expected).tobytes().hex()


def jitter_cases(rng, draws, count):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for i in range(count):
        yield jitter_case(rng, draws, ramp if i % 2 else noise_image(rng, *draws.choice(SIZES)))


def normalize_cases():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for mean, std in ((MEAN, STD), (0.5, 0.5), (0.2860, 0.3530), (0.0, 1.0)):
        pipeline = transforms.Compose([transforms.ToTensor(), transforms.Normalize((mean,), (std,))])
        bits = pipeline(Image.fromarray(ramp)).numpy().view(np.uint32).ravel()
        yield f"normalize {mean!r} {std!r} {ramp.tobytes().hex()}", "".join(f"{value:08x}" for value in bits)


def resize_is_identity(rng):
    """The recipe's Resize(28) has no counterpart in C++, because it returns 28x28 images as they are."""
    pixels = noise_image(rng, 28, 28)
    return np.array_equal(np.asarray(transforms.Resize(28)(Image.fromarray(pixels))), pixels)


def compare(oracle, name, cases):
    requests, expected = zip(*cases)
    answer = subprocess.run([oracle], input="\n".join(requests) + "\n", stdout=subprocess.PIPE, text=True, check=True)
    actual = answer.stdout.split("\n")[:-1]
    wrong = [i for i in range(len(expected)) if i >= len(actual) or actual[i] != expected[i]]
    print(f"{name}: {len(expected) - len(wrong)} of {len(expected)} equal")
    for i in wrong[:3]:
        print(f"  differs: {requests[i]}\n  expected {expected[i]}\n  actual   {actual[i] if i < len(actual) else None}")
    return not wrong and len(actual) == len(expected)


def main():
    oracle = sys.argv[1]
    rng = np.random.default_rng(1)
    draws = random.Random(1)
    results = [
        compare(oracle, "affine, special values", special_affine_cases(rng)),
        compare(oracle, "affine, the recipe's values", recipe_affine_cases(rng, draws, 4000)),
        compare(oracle, "affine, general values", general_affine_cases(rng, draws, 6000)),
        compare(oracle, "brightness and contrast", jitter_cases(rng, draws, 4000)),
        compare(oracle, "normalize", normalize_cases()),
    ]
    identity = resize_is_identity(rng)
    print(f"Resize(28) leaves 28x28 as it is: {identity}")
    sys.exit(0 if all(results) and identity else 1)


main()
