# SPDX-License-Identifier: MIT
"""Checks that the quickstart trains, and trains what the trainer of MNIST does: the same weights, bit for bit.

Usage: quickstart_test.py QUICKSTART MNIST
Exit status: 0 if all tests pass.
"""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "mnist"))
import digits  # noqa: E402

MNIST = os.path.abspath(sys.argv.pop())
QUICKSTART = os.path.abspath(sys.argv.pop())
TIMEOUT = 300
EPOCHS = 3


def tensors_of(path):
    """{name: (type, shape, bytes)} of a safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8:8 + length]), content[8 + length:]
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
            for name, entry in header.items() if name != "__metadata__"}


def run(*command):
    return subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=TIMEOUT)


class Quickstart(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="kernelgrad-quickstart-")
        self.addCleanup(directory.cleanup)
        self.folder = Path(directory.name)

    def test_it_learns_as_the_trainer_does(self):
        data, checkpoint = self.folder / "data", self.folder / "trained.safetensors"
        digits.write_data(data, 1000, 100)
        done = run(QUICKSTART, data, EPOCHS, checkpoint)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("7676 parameters, 1000 images to train on", done.stdout)
        accuracies = [float(text) for text in re.findall(r"batch +8 of 8, loss [0-9.]+, test accuracy ([0-9.]+) %",
                                                         done.stdout)]
        self.assertEqual(len(accuracies), EPOCHS, done.stdout)
        self.assertGreater(accuracies[-1], 50)
        trained = run(MNIST, "train", "--model", "s7_final", "--seed", 1, "--epochs", EPOCHS, "--quiet", "--data", data,
                      "--out", self.folder / "run")
        self.assertEqual(trained.returncode, 0, trained.stderr)
        self.assertEqual(tensors_of(checkpoint), tensors_of(self.folder / "run" / "model.safetensors"))
        # The checkpoint is one for the trainer's other commands.
        tested = run(MNIST, "eval", checkpoint, "--data", data)
        self.assertIn(f"({accuracies[-1]:.2f}%)", tested.stdout, tested.stderr)

    def test_errors(self):
        for arguments, message in (([self.folder / "none"], "no such folder"), ([self.folder, "0"], "EPOCHS"),
                                   ([self.folder, "many"], "EPOCHS")):
            done = run(QUICKSTART, *arguments)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"^quickstart: .*{message}")


if __name__ == "__main__":
    unittest.main()
