# SPDX-License-Identifier: MIT
"""Trains s7_final for one epoch in PyTorch, as bench/epoch's peer, and prints what it measured as JSON.

The training images are in memory as normalised floats before the clock starts, and nothing is augmented: what is
timed is shuffling, forward, backward, the optimizer, and the sums of loss and accuracy. With --inference it runs the
network over the test images instead.

Its defaults are the fastest of the variants that it offers. 50 batches, 2 threads of an AMD EPYC with AVX-512,
PyTorch 1.13 from Debian 12, best of 3: 1.25 s with oneDNN and NCHW; 1.87 s with --channels-last; 9.7 s with
--no-onednn; 8.4 s with both.
"""

import argparse
import gzip
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

BATCH_SIZE = 128
WARM_UP_BATCHES = 10


def block(c_in, c_out, *, padding=0, dropout=0.0):
    return [
        nn.Conv2d(c_in, c_out, 3, padding=padding, bias=False),
        nn.ReLU(),
        nn.BatchNorm2d(c_out),
        nn.Dropout(dropout),  # with p = 0 PyTorch returns its input: it costs nothing
    ]


def s7_final():
    return nn.Sequential(
        *block(1, 4),
        *block(4, 8),
        *block(8, 16),
        nn.Conv2d(16, 8, 1, bias=False),
        nn.MaxPool2d(2),
        *block(8, 16, dropout=0.1),
        *block(16, 16, dropout=0.1),
        *block(16, 16, padding=1),
        nn.Conv2d(16, 10, 1, bias=False),
        nn.AvgPool2d(7),
        nn.Flatten(),
        nn.LogSoftmax(dim=1),
    )


def read_idx(folder, stem, rank):
    """The unsigned bytes behind the header of an IDX file, under any of the names that the trainer takes."""
    for name in (f"{stem}-idx{rank}-ubyte", f"{stem}.idx{rank}-ubyte"):
        for path, read in ((folder / name, open), (folder / f"{name}.gz", gzip.open)):
            if path.exists():
                with read(path, "rb") as file:
                    return torch.from_numpy(np.frombuffer(file.read(), np.uint8, offset=4 + 4 * rank).copy())
    raise SystemExit(f"peer_epoch.py: no {stem}-idx{rank}-ubyte in {folder}")


def load_data(folder, split):
    pixels = read_idx(folder, f"{split}-images", 3).view(-1, 1, 28, 28)
    labels = read_idx(folder, f"{split}-labels", 1)
    return (pixels.float() / 255 - 0.1307) / 0.3081, labels.long()


def train(network, optimizer, images, labels, order):
    """One pass over the images in the given order; returns the mean loss and the accuracy in percent."""
    network.train()
    total_loss, correct = 0.0, 0
    for start in range(0, len(order), BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        x, y = images[chosen], labels[chosen]
        optimizer.zero_grad(set_to_none=True)
        output = network(x)
        loss = F.nll_loss(output, y)
        loss.backward()
        optimizer.step()
        total_loss += loss.item() * len(y)
        correct += (output.argmax(dim=1) == y).sum().item()
    return total_loss / len(order), 100 * correct / len(order)


def images_per_second(network, images):
    """Of inference, of one pass in batches of the size that a pass before was fastest with."""
    network.eval()

    def seconds(batch_size):
        start = time.perf_counter()
        for first in range(0, len(images), batch_size):
            network(images[first : first + batch_size]).argmax(dim=1)
        return time.perf_counter() - start

    with torch.no_grad():
        seconds(BATCH_SIZE)
        return len(images) / seconds(min((64, BATCH_SIZE, 256, 1000), key=seconds))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--inference", action="store_true", help="time inference, in images a second")
    parser.add_argument("--batches", type=int, help="stop after so many batches (default: a whole epoch)")
    parser.add_argument("--channels-last", action="store_true", help="keep images and weights as NHWC")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network (PyTorch 2)")
    parser.add_argument("--no-onednn", action="store_true", help="use PyTorch's own convolutions")
    arguments = parser.parse_args()

    if arguments.compile and not hasattr(torch, "compile"):
        raise SystemExit(f"peer_epoch.py: PyTorch {torch.__version__} has no torch.compile")
    torch.set_num_threads(arguments.threads)
    torch.backends.mkldnn.set_flags(not arguments.no_onednn)
    torch.manual_seed(1)
    images, labels = load_data(arguments.data, "t10k" if arguments.inference else "train")
    network = s7_final()
    if arguments.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
        network = network.to(memory_format=torch.channels_last)
    if arguments.compile:
        network = torch.compile(network)
    if arguments.inference:
        print(json.dumps({"rate": images_per_second(network, images), "torch": torch.__version__}))
        return
    optimizer = torch.optim.SGD(network.parameters(), lr=0.04, momentum=0.9)

    order = torch.randperm(len(labels))
    train(network, optimizer, images, labels, order[: WARM_UP_BATCHES * BATCH_SIZE])
    start = time.perf_counter()
    order = torch.randperm(len(labels))
    if arguments.batches:
        order = order[: arguments.batches * BATCH_SIZE]
    loss, accuracy = train(network, optimizer, images, labels, order)
    seconds = time.perf_counter() - start
    result = {"seconds": seconds, "images": len(order), "loss": loss, "accuracy": accuracy}
    print(json.dumps({**result, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
