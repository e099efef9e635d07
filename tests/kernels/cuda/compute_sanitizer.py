# SPDX-License-Identifier: MIT
"""Runs a GPU test program under the four tools of NVIDIA's compute-sanitizer.

usage: compute_sanitizer.py PROGRAM [CATCH ARGS...]

Without arguments for the program the gradient checks are left out: they launch the kernels that the other tests
launch, some hundred thousand times. Exit status 77, with the reason: no compute-sanitizer, or no GPU.
"""

import os
import shutil
import subprocess
import sys

SKIPPED = 77
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")


def find_sanitizer():
    beside_toolkit = [os.path.join(os.environ.get(name, ""), "bin") for name in ("CUDA_HOME", "CUDA_PATH")]
    places = os.pathsep.join([os.environ.get("PATH", ""), *beside_toolkit, "/usr/local/cuda/bin"])
    return shutil.which("compute-sanitizer", path=places)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    program, arguments = sys.argv[1], sys.argv[2:] or ["~[gradcheck]"]
    sanitizer = find_sanitizer()
    if not sanitizer:
        print("skipped, nothing was tested: compute-sanitizer is not installed")
        return SKIPPED
    # The program itself knows whether there is a GPU.
    probe = subprocess.run([program, "--list-tests"], capture_output=True, text=True, check=False)
    if probe.returncode == SKIPPED:
        print(probe.stdout, end="")
        return SKIPPED
    failed = [tool for tool in TOOLS
              if subprocess.run([sanitizer, "--tool", tool, "--error-exitcode", "1", program, *arguments],
                                check=False).returncode != 0]
    print("compute-sanitizer: " + (f"failed: {', '.join(failed)}" if failed else "no errors"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
