# SPDX-License-Identifier: MIT
"""Compares the C++ augmentation with torchvision: pixel for pixel for given parameters, by distribution for drawn ones.

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

NEAREST, BILINEAR = transforms.InterpolationMode.NEAREST, transforms.InterpolationMode.BILINEAR
SIZES = [(28, 28), (1, 1), (1, 7), (7, 1), (31, 33), (33, 31), (65, 40), (2, 3)]
MEAN, STD = 0.1307, 0.3081


def noise_image(rng, height, width):
    return rng.integers(0, 256, (height, width), dtype=np.uint8)


def affine_case(rng, size, angle, translate, scale, shear=(0.0, 0.0), fill=0, mode=NEAREST):
    height, width = size
    pixels = noise_image(rng, height, width)
    numbers = [angle, *translate, scale, *shear, fill, int(mode == BILINEAR)]
    request = f"affine {height} {width} {' '.join(map(repr, numbers))} {pixels.tobytes().hex()}"
    expected = F.affine(Image.fromarray(pixels), angle, list(translate), scale, list(shear), mode, fill=fill)
    return request, np.asarray(expected).tobytes().hex()


def special_affine_cases(rng, mode=NEAREST):
    for size in SIZES:
        for angle in (0.0, 45.0, 90.0, -90.0, 180.0, 270.0, 360.0, 1e-5, -1e-12):
            for translate in ((0, 0), (1, -2), (-3, 2), (1000, 0), (0, -40000)):
                for scale in (1.0, 0.5, 2.0, 1.1, 1 / 3):
                    yield affine_case(rng, size, angle, translate, scale, mode=mode)
    # Beyond the range of 16.16 fixed point, where PIL computes in doubles.
    for angle, scale in ((30.0, 1e-3), (90.0, 4e-4), (200.0, 2e-5), (10.0, 1e-9)):
        for translate in ((0, 0), (3, -1), (20, 14)):
            yield affine_case(rng, (31, 33), angle, translate, scale, mode=mode)
    for size in ((3, 40000), (40000, 2)):
        for angle in (1e-3, -1e-3, 180.001):
            yield affine_case(rng, size, angle, (5, 0), 1.01, mode=mode)


def recipe_affine_cases(rng, draws, count):
    """What RandomAffine(20, translate=(0.1, 0.1), scale=(0.9, 1.1)) draws on 28x28."""
    for _ in range(count):
        translate = (draws.randint(-3, 3), draws.randint(-3, 3))
        yield affine_case(rng, (28, 28), draws.uniform(-20, 20), translate, draws.uniform(0.9, 1.1))


def general_affine_cases(rng, draws, count, mode=NEAREST):
    for _ in range(count):
        size = draws.choice(SIZES)
        translate = (draws.randint(-40, 40), draws.randint(-40, 40))
        if draws.random() < 0.5:
            translate = (draws.randint(-3, 3), draws.randint(-3, 3))
        shear = draws.choice([(0.0, 0.0), (draws.uniform(-60, 60), 0.0), (draws.uniform(-60, 60), draws.uniform(-60, 60))])
        angle = draws.choice([0.0, draws.uniform(-180, 180), draws.uniform(-400, 400)])
        yield affine_case(rng, size, angle, translate, draws.uniform(0.2, 3), shear, draws.choice([0, 255, 17]), mode)


def special_angles(draws):
    return draws.choice([0.0, 90.0, -90.0, 180.0, 270.0, 360.0, 45.0, -45.0, 30.0, 60.0, 1e-5, -1e-12, 720.5])


def rotation_cases(rng, draws, count):
    """What RandomRotation draws in the recipes, and angles of all kinds on images of odd sizes."""
    for i in range(count):
        size, angle, fill = (28, 28), draws.uniform(-7, 7), draws.choice([0, 1])
        if i % 2:
            size, fill = draws.choice(SIZES), draws.choice([0, 17, 255])
            angle = draws.choice([special_angles(draws), draws.uniform(-180, 180), draws.uniform(-1000, 1000)])
        pixels = noise_image(rng, *size)
        request = f"rotate {size[0]} {size[1]} {angle!r} {fill} {pixels.tobytes().hex()}"
        expected = F.rotate(Image.fromarray(pixels), angle, fill=fill)
        yield request, np.asarray(expected).tobytes().hex()


def normalized_rotation_cases(rng, draws, count):
    """The rotation of a float tensor, which takes its pixels from elsewhere than PIL's."""
    to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    for i in range(count):
        size, angle, fill = (28, 28), draws.uniform(-5, 5), 0
        if i % 2:
            size, fill = draws.choice(SIZES), draws.choice([0, 2])
            angle = draws.choice([special_angles(draws), draws.uniform(-180, 180)])
        pixels = noise_image(rng, *size)
        request = (f"rotate_normalized {MEAN!r} {STD!r} {size[0]} {size[1]} {angle!r} {fill} "
                   f"{pixels.tobytes().hex()}")
        expected = F.rotate(to_tensor(Image.fromarray(pixels)), angle, fill=[float(fill)])
        bits = expected.numpy().view(np.uint32).ravel()
        yield request, "".join(f"{value:08x}" for value in bits)


def resize_case(rng, size, box, to):
    """`box` is top, left, height and width."""
    pixels = noise_image(rng, *size)
    request = f"resized_crop {' '.join(map(str, [*size, *box, *to]))} {pixels.tobytes().hex()}"
    return request, np.asarray(F.resized_crop(Image.fromarray(pixels), *box, list(to))).tobytes().hex()


def resize_cases(rng):
    """Every size up to 40 to every other, in both directions at once."""
    for a in range(1, 41):
        for b in range(1, 41):
            size, to = (a, 41 - b), (b, 41 - a)
            yield resize_case(rng, size, (0, 0, *size), to)


def resized_crop_cases(rng, draws, count):
    for i in range(count):
        size, to = (28, 28), (28, 28)
        if i % 2:
            size = draws.choice([*SIZES, (100, 300), (257, 64)])
            to = (draws.randint(1, 60), draws.randint(1, 60))
        h, w = draws.randint(1, size[0]), draws.randint(1, size[1])
        if i % 4 == 0:
            h, w = draws.randint(20, 28), draws.randint(20, 28)
        box = (draws.randint(0, size[0] - h), draws.randint(0, size[1] - w), h, w)
        yield resize_case(rng, size, box, to)


def center_crop_cases(rng, draws, count):
    """Smaller and larger than the image, in one direction or both."""
    for _ in range(count):
        size, to = draws.choice([(28, 28), *SIZES]), (draws.randint(1, 70), draws.randint(1, 70))
        if draws.random() < 0.2:
            to = (24, 24)
        pixels = noise_image(rng, *size)
        request = f"center_crop {' '.join(map(str, [*size, *to]))} {pixels.tobytes().hex()}"
        yield request, np.asarray(F.center_crop(Image.fromarray(pixels), list(to))).tobytes().hex()


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


def compare(oracle, name, cases):
    requests, expected = zip(*cases)
    answer = subprocess.run([oracle], input="\n".join(requests) + "\n", stdout=subprocess.PIPE, text=True, check=True)
    actual = answer.stdout.split("\n")[:-1]
    wrong = [i for i in range(len(expected)) if i >= len(actual) or actual[i] != expected[i]]
    print(f"{name}: {len(expected) - len(wrong)} of {len(expected)} equal")
    for i in wrong[:3]:
        print(f"  differs: {requests[i]}\n  expected {expected[i]}\n  actual   {actual[i] if i < len(actual) else None}")
    return not wrong and len(actual) == len(expected)


def ask(oracle, request):
    answer = subprocess.run([oracle], input=request + "\n", stdout=subprocess.PIPE, text=True, check=True)
    return np.array([float(value) for value in answer.stdout.split()])


def same_distribution(name, ours, theirs):
    """The Kolmogorov-Smirnov statistic of two samples of equal size, whose p-value must be above 1e-4; where values
    repeat, as rounded ones do, the true p-value is larger still."""
    values = np.concatenate([ours, theirs])
    steps = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (ours, theirs)]
    statistic = np.abs(steps[0] - steps[1]).max()
    limit = np.sqrt(-np.log(1e-4 / 2) / len(ours))
    print(f"  {name}: largest difference {statistic:.5f}, limit {limit:.5f}")
    return len(ours) == len(theirs) and statistic < limit


def compare_columns(names, ours, theirs):
    return all([same_distribution(name, ours[:, i], theirs[:, i]) for i, name in enumerate(names)])


def rotation_draws(oracle, count):
    ours = ask(oracle, f"draw_rotation {count} -7 3")
    theirs = [transforms.RandomRotation.get_params([-7, 3]) for _ in range(count)]
    return same_distribution("angle", ours, np.array(theirs))


def affine_draws(oracle, count, scale=(0.93, 1.07), translate=(0.05, 0.01)):
    """(28, 20) pixels; without translate and scale as era_model9 has it."""
    numbers = [*(translate or (0, 0)), *(scale or (1, 1))]
    ours = ask(oracle, f"draw_affine {count} 28 20 7 {' '.join(map(repr, numbers))}").reshape(count, 4)
    theirs = [transforms.RandomAffine.get_params([-7, 7], translate, scale, None, [20, 28]) for _ in range(count)]
    theirs = np.array([(angle, *shift, factor) for angle, shift, factor, _ in theirs])
    return compare_columns(["angle", "dx", "dy", "scale"], ours, theirs)


def resized_crop_draws(oracle, count, size, scale, ratio):
    numbers = [*size, *scale, *ratio]
    ours = ask(oracle, f"draw_resized_crop {count} {' '.join(map(repr, numbers))}").reshape(count, 4)
    image = Image.new("L", size[::-1])
    theirs = np.array([transforms.RandomResizedCrop.get_params(image, scale, ratio) for _ in range(count)])

    def derived(crops):
        """What the numbers are together, besides each alone."""
        top, left, height, width = crops.T
        free = [np.maximum(size[0] - height, 1), np.maximum(size[1] - width, 1)]
        return np.stack([top, left, height, width, height * width, width / height, top / free[0], left / free[1]], 1)

    names = ["top", "left", "height", "width", "area", "ratio", "top of what is free", "left of what is free"]
    print(f"  {size}, scale {scale}, ratio {ratio}:")
    return compare_columns(names, derived(ours), derived(theirs))


def jitter_draws(oracle, count):
    ours = ask(oracle, f"draw_jitter {count} 0.1 2.5").reshape(count, 3)
    theirs = [transforms.ColorJitter.get_params([0.9, 1.1], [0, 3.5], [0.9, 1.1], [-0.1, 0.1]) for _ in range(count)]
    theirs = [(brightness, contrast, int("".join(str(int(op)) for op in order)))
              for order, brightness, contrast, _, _ in theirs]
    return compare_columns(["brightness", "contrast", "order"], ours, np.array(theirs))


def apply_draws(oracle, count, p):
    def center_crop(image):
        return True
    transform = transforms.RandomApply([center_crop], p)
    theirs = [float(transform(False)) for _ in range(count)]
    return same_distribution(f"p = {p}", ask(oracle, f"draw_apply {count} {p}"), np.array(theirs))


def draws_agree(oracle, count):
    print(f"draws, {count} of each:")
    return all([
        rotation_draws(oracle, count),
        affine_draws(oracle, count),
        affine_draws(oracle, count, None, None),
        resized_crop_draws(oracle, count, (28, 28), (0.8, 1.0), (3 / 4, 4 / 3)),
        resized_crop_draws(oracle, count, (31, 40), (0.08, 1.0), (3 / 4, 4 / 3)),
        # Mostly, then always, too long for the image.
        resized_crop_draws(oracle, count, (28, 28), (0.9, 1.0), (1 / 3, 3)),
        resized_crop_draws(oracle, count, (10, 60), (0.9, 1.0), (3 / 4, 4 / 3)),
        resized_crop_draws(oracle, count, (61, 10), (0.9, 1.0), (3 / 4, 4 / 3)),
        resized_crop_draws(oracle, count, (28, 28), (3.0, 4.0), (3 / 4, 4 / 3)),
        jitter_draws(oracle, count),
        apply_draws(oracle, count, 0.1),
        apply_draws(oracle, count, 0.0),
        apply_draws(oracle, count, 1.0),
    ])


def main():
    oracle = sys.argv[1]
    rng = np.random.default_rng(1)
    draws = random.Random(1)
    results = [
        compare(oracle, "affine, special values", special_affine_cases(rng)),
        compare(oracle, "affine, the recipe's values", recipe_affine_cases(rng, draws, 4000)),
        compare(oracle, "affine, general values", general_affine_cases(rng, draws, 6000)),
        compare(oracle, "bilinear affine, special values", special_affine_cases(rng, BILINEAR)),
        compare(oracle, "bilinear affine, general values", general_affine_cases(rng, draws, 6000, BILINEAR)),
        compare(oracle, "rotation", rotation_cases(rng, draws, 6000)),
        compare(oracle, "rotation of normalised images", normalized_rotation_cases(rng, draws, 4000)),
        compare(oracle, "resize", resize_cases(rng)),
        compare(oracle, "resized crop", resized_crop_cases(rng, draws, 3000)),
        compare(oracle, "centre crop", center_crop_cases(rng, draws, 2000)),
        compare(oracle, "brightness and contrast", jitter_cases(rng, draws, 4000)),
        compare(oracle, "normalize", normalize_cases()),
    ]
    torch.manual_seed(1)
    results.append(draws_agree(oracle, 20000))
    sys.exit(0 if all(results) else 1)


main()
