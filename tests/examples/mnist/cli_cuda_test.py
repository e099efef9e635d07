# SPDX-License-Identifier: MIT
"""Checks what `mnist sweep` gives its runs of the options that are for a GPU alone, which here is the emulator's.

Usage: cli_cuda_test.py MNIST_ON_EMULATOR
Exit status: 0 if all tests pass.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import digits

MNIST = os.path.abspath(sys.argv.pop(1))
TIMEOUT = 120


class Sweep(unittest.TestCase):
    def options_of_a_run(self, *arguments, environment=None):
        """The lines of the first run's options.ini. There it is before the first step, and the sweep is ended."""
        with tempfile.TemporaryDirectory(prefix="kernelgrad-cli-") as directory:
            data, out = Path(directory) / "data", Path(directory) / "out"
            digits.write_data(data, 60, 10)
            options = out / "classic_step2-seed1" / "options.ini"
            sweep = subprocess.Popen(
                [MNIST, "sweep", "classic_step2", "--seeds", "1", "--epochs", "1", "--device", "cuda", "--data", data,
                 "--out", out, *arguments], env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            deadline = time.monotonic() + TIMEOUT
            while not options.exists() and sweep.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            sweep.send_signal(signal.SIGTERM)
            output = sweep.communicate(timeout=TIMEOUT)
            self.assertTrue(options.exists(), output)
            return options.read_text().splitlines()

    def test_options_of_the_command_line(self):
        lines = self.options_of_a_run("--kernels", "linear=native", "--allow-tf32", "--nondeterministic")
        for line in ('device="cuda"', 'kernels="linear=native"', "allow-tf32=true", "nondeterministic=true"):
            self.assertIn(line, lines)

    def test_kernels_of_the_environment(self):
        lines = self.options_of_a_run(environment={"KERNELGRAD_KERNELS": "conv2d=native"})
        self.assertIn('kernels="conv2d=native"', lines)

    def test_nothing_else(self):
        lines = self.options_of_a_run()
        self.assertFalse([line for line in lines if "kernels" in line or "tf32" in line or "nondeterministic" in line])


if __name__ == "__main__":
    unittest.main()
