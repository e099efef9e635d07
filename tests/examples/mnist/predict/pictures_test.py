# SPDX-License-Identifier: MIT
"""Counts how many test digits of MNIST the trainer recognises as ink on a page, as phones and scanners see it.

Usage: pictures_test.py MNIST FOLDER... [ARGUMENT OF UNITTEST...]
MNIST's files are looked for in $MNIST_DIR and in the folders. $MNIST_CHECKPOINT names a checkpoint of kernelgrad_8k after
two epochs; without it one is trained. Exit status: 0 if all tests pass, 77 if MNIST, NumPy or PIL is not there.
"""

import io
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import numpy
    from PIL import Image, ImageFilter
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

MNIST = os.path.abspath(sys.argv[1])
DATA = next((folder for folder in [os.environ.get("MNIST_DIR", ""), *sys.argv[2:]]
             if folder and (Path(folder) / "t10k-images-idx3-ubyte").exists()), None)
if DATA is None:
    print("skipped: MNIST is not there; scripts/get-mnist fetches it")
    sys.exit(77)
COUNT = 100


def read(name):
    data = (Path(DATA) / name).read_bytes()
    rank = data[3]
    return numpy.frombuffer(data[4 + 4 * rank:], numpy.uint8).reshape(struct.unpack(f">{rank}I", data[4:4 + 4 * rank]))


def ink(digit, height):
    """The digit cut out and enlarged, from 0 to 1."""
    rows, columns = numpy.where(digit > 40)
    cut = digit[rows.min():rows.max() + 1, columns.min():columns.max() + 1]
    scale = height / max(cut.shape)
    size = (max(1, int(cut.shape[1] * scale)), max(1, int(cut.shape[0] * scale)))
    return numpy.asarray(Image.fromarray(cut).resize(size, Image.BICUBIC)).astype(float) / 255


def cover(digit, height, width=280, page_height=280, left=None, top=None):
    """A page of 0 with the ink, up to 1, on it, in the middle unless it is said where."""
    drawn, page = ink(digit, height), numpy.zeros((page_height, width))
    left = (width - drawn.shape[1]) // 2 if left is None else left
    top = (page_height - drawn.shape[0]) // 2 if top is None else top
    page[top:top + drawn.shape[0], left:left + drawn.shape[1]] = drawn
    return page


def paint(covered, paper=255, color=20):
    return paper * (1 - covered) + color * covered


def colored(covered, paper, color):
    return numpy.stack([paint(covered, p, c) for p, c in zip(paper, color)], -1)


def vignette(image):
    y, x = numpy.mgrid[-1:1:image.shape[0] * 1j, -1:1:image.shape[1] * 1j]
    return image * (1 - 0.2 * (x * x + y * y))


def noisy(image, deviation):
    return image + DRAWS.normal(0, deviation, image.shape)


def ruled(image):
    image[20::60] = numpy.minimum(image[20::60], 190)
    return image


def transparent(covered, color):
    return numpy.dstack([numpy.full(covered.shape, float(c)) for c in color] + [255 * covered])


# Where a digit is 28 pixels high and wide itself, without a page.
KINDS = {
    "stored": lambda d: d,
    "inverted": lambda d: 255 - d,
    "grey, of MNIST's size": lambda d: 185 - d * (135 / 255),
    "light on grey, of MNIST's size": lambda d: 70 + d * (130 / 255),
    "as MNIST": lambda d: paint(cover(d, 200)),
    "grey paper": lambda d: paint(cover(d, 200), 185, 50),
    "third of the page": lambda d: paint(cover(d, 93)),
    "dark paper": lambda d: paint(cover(d, 200), 70, 200),
    "dark paper, third of the page": lambda d: paint(cover(d, 93), 40, 150),
    "faint": lambda d: paint(cover(d, 180), 150, 115),
    "tight": lambda d: paint(cover(d, 200, ink(d, 200).shape[1] + 8, ink(d, 200).shape[0] + 8)),
    "in a corner": lambda d: paint(cover(d, 80, 1000, 800, 30, 690), 230, 40),
    "tall": lambda d: paint(cover(d, 140, 200, 600)),
    "wide": lambda d: paint(cover(d, 140, 800, 200, 10)),
    "small": lambda d: paint(cover(d, 20, 64, 64)),
    "large": lambda d: paint(cover(d, 900, 2400, 1800), 200, 60),
    "shaded": lambda d: paint(cover(d, 180), numpy.linspace(230, 120, 280), 40),
    "shaded, third of the page": lambda d: paint(cover(d, 93), numpy.linspace(110, 240, 280)[:, None], 30),
    "noise": lambda d: noisy(paint(cover(d, 180), 200, 50), 25),
    "photograph": lambda d: noisy(vignette(paint(cover(d, 300, 1000, 800), 205, 60)), 8),
    "blue on yellow": lambda d: colored(cover(d, 150), (240, 230, 140), (20, 40, 160)),
    "red on green of the same luminance": lambda d: colored(cover(d, 150), (0, 150, 120), (220, 60, 70)),
    "ruled paper": lambda d: ruled(paint(cover(d, 180, 400, 400), 245, 30)),
    "black, transparent": lambda d: transparent(cover(d, 180), (0, 0, 0)),
    "white, transparent": lambda d: transparent(cover(d, 93), (255, 255, 255)),
    "out of focus": lambda d: numpy.asarray(
        Image.fromarray(paint(cover(d, 180), 210, 50).astype(numpy.uint8)).filter(ImageFilter.GaussianBlur(6))),
}
JPEGS = {
    "JPEG": (lambda d: paint(cover(d, 180), 220, 30), 30),
    "photograph, JPEG": (lambda d: noisy(vignette(paint(cover(d, 250, 1000, 800), 215, 50)), 6), 75),
}


def encoded(image, form, **options):
    data = io.BytesIO()
    Image.fromarray(numpy.clip(numpy.round(image), 0, 255).astype(numpy.uint8)).save(data, form, **options)
    return data.getvalue()


class Pictures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        global DRAWS
        DRAWS = numpy.random.default_rng(1)
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.directory = Path(temporary.name)
        cls.images = read("t10k-images-idx3-ubyte")[:COUNT]
        cls.labels = read("t10k-labels-idx1-ubyte")[:COUNT]
        cls.checkpoint = os.environ.get("MNIST_CHECKPOINT") or cls.train()

    @classmethod
    def train(cls):
        run = cls.directory / "run"
        subprocess.run([MNIST, "train", "--model", "kernelgrad_8k", "--epochs", "2", "--data", DATA, "--out", str(run),
                        "--quiet"], check=True, stdout=subprocess.DEVNULL)
        return run / "model.safetensors"

    def count(self, pictures):
        """How many of the pictures, one of each digit, are recognised."""
        files = [self.directory / str(i) for i in range(len(pictures))]
        for file, picture in zip(files, pictures):
            file.write_bytes(picture)
        result = subprocess.run([MNIST, "predict", str(self.checkpoint), *map(str, files)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        answers = [re.match(r".*: (\d) \(", line) for line in result.stdout.splitlines()]
        self.assertEqual(len(answers), len(pictures))
        return sum(bool(answer) and int(answer.group(1)) == label for answer, label in zip(answers, self.labels))

    def test_every_kind(self):
        stored = self.count([encoded(image, "PNG") for image in self.images])
        self.assertGreaterEqual(stored, 98)
        for kind, make in KINDS.items():
            with self.subTest(kind=kind):
                right = self.count([encoded(make(image), "PNG", compress_level=1) for image in self.images])
                print(f"{kind}: {right} of {COUNT}")
                self.assertGreaterEqual(right, stored if kind == "inverted" else 95)
        for kind, (make, quality) in JPEGS.items():
            with self.subTest(kind=kind):
                right = self.count([encoded(make(image), "JPEG", quality=quality) for image in self.images])
                print(f"{kind}: {right} of {COUNT}")
                self.assertGreaterEqual(right, 95)


unittest.main(argv=sys.argv[:1])
