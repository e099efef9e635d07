# SPDX-License-Identifier: MIT
"""A small data set of digits drawn here, and the formats that it comes in."""

import gzip
import random
import struct
import zlib

# Left, top, width and height of a pocket calculator's seven segments, and which of them a digit lights.
SEGMENTS = [(0, 0, 10, 3), (7, 0, 3, 10), (7, 8, 3, 10), (0, 15, 10, 3), (0, 8, 3, 10), (0, 0, 3, 10), (0, 8, 10, 3)]
LIT = [0x3F, 0x06, 0x5B, 0x4F, 0x66, 0x6D, 0x7D, 0x07, 0x7F, 0x6F]


def draw_digit(digit, draws):
    """28x28 pixels with the digit in white at a random place on black."""
    pixels = bytearray(28 * 28)
    left, top, ink = draws.randint(7, 11), draws.randint(3, 7), draws.randint(150, 255)
    for i, (x, y, width, height) in enumerate(SEGMENTS):
        if LIT[digit] >> i & 1:
            for row in range(top + y, top + y + height):
                start = row * 28 + left + x
                pixels[start:start + width] = bytes([ink]) * width
    return bytes(pixels)


def idx(sizes, data):
    return struct.pack(f">I{len(sizes)}I", 0x800 + len(sizes), *sizes) + data


def png(pixels, width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + pixels[y * width:(y + 1) * width] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write_data(directory, train, test, repeat_train=1):
    """MNIST's four files with so many images: two plain, two gzipped. Returns the test images."""
    directory.mkdir()
    draws = random.Random(1)
    train = [draw_digit(i % 10, draws) for i in range(train)] * repeat_train
    test = [draw_digit(i % 10, draws) for i in range(test)]
    labels = bytes(i % 10 for i in range(len(train)))
    (directory / "train-images-idx3-ubyte").write_bytes(idx([len(train), 28, 28], b"".join(train)))
    (directory / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx([len(train)], labels)))
    (directory / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx([len(test), 28, 28], b"".join(test))))
    (directory / "t10k-labels-idx1-ubyte").write_bytes(idx([len(test)], labels[:len(test)]))
    return test
