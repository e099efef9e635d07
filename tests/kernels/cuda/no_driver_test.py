# SPDX-License-Identifier: MIT
"""A program that was built with CUDA, on a machine without a driver: it starts, it runs on the CPU, and it says why.

Usage: no_driver_test.py MNIST [ARGUMENT OF UNITTEST...]
Exit status: 0 if all tests pass, 77 if MNIST was built without CUDA or there is a GPU.
"""

import gzip
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

MNIST = os.path.abspath(sys.argv[1])
# What kernels/cuda/device.cu finds in the way, where a build without CUDA says that it is one.
CAUSE = r"no NVIDIA driver was found, or one older than this build's CUDA runtime|the driver reports no GPU"
TIMEOUT = 120


def idx(sizes, data):
    return struct.pack(f">I{len(sizes)}I", 0x800 + len(sizes), *sizes) + data


def write_data(directory):
    """MNIST's four files, with a grey level for each digit."""
    for name, count in ("train", 40), ("t10k", 20):
        labels = bytes(i % 10 for i in range(count))
        images = b"".join(bytes([25 * label]) * (28 * 28) for label in labels)
        (directory / f"{name}-images-idx3-ubyte").write_bytes(idx([count, 28, 28], images))
        (directory / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx([count], labels)))


def train(device):
    with tempfile.TemporaryDirectory(prefix="kernelgrad-no-driver-") as folder:
        data = Path(folder) / "data"
        data.mkdir()
        write_data(data)
        out = Path(folder) / "out"
        done = subprocess.run([MNIST, "train", "--epochs", "1", "--batch-size", "20", "--device", device,
                               "--data", data, "--out", out], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=TIMEOUT)
        done.wrote = sorted(path.name for path in out.iterdir()) if out.exists() else []
        return done


class NoDriver(unittest.TestCase):
    def test_auto_runs_on_the_cpu_and_says_once_why(self):
        done = AUTO
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("model.safetensors", done.wrote)
        output = done.stdout + done.stderr
        self.assertEqual(len(re.findall(CAUSE, output)), 1, output)
        self.assertRegex(output, rf"device: cpu \(auto: ({CAUSE})\)")

    def test_cpu_runs_and_has_nothing_to_explain(self):
        done = train("cpu")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertNotRegex(done.stdout, CAUSE)

    def test_cuda_is_an_error_that_names_the_cause(self):
        done = train("cuda")
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(done.wrote, [])
        self.assertRegex(done.stderr, rf"^mnist: .*cuda.*({CAUSE})\n$")
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


if __name__ == "__main__":
    AUTO = train("auto")
    if re.search(r"device: cuda|this build of kernelgrad has no CUDA backend", AUTO.stdout):
        print(f"nothing to test here: {AUTO.stdout.splitlines()[0]}")
        sys.exit(77)
    unittest.main(argv=["no_driver_test.py", *sys.argv[2:]])
