# SPDX-License-Identifier: MIT
"""No kernel in float has a spill or a stack frame, on any architecture: ptxas says so.

Usage: ptxas_test.py NVCC FOLDER...

Reads the reports of ptxas that keep_ptxas_report left in the folders when the library was built, and prints a table of
them. Before that it compiles two kernels that have a stack frame and a spill: a reader that does not find these would
find nothing else either.

Exit status: 0 if all is well, 1 if a float kernel has a spill or a stack frame or a report is missing, 77 if there is
no nvcc.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True
from device_code import sources  # noqa: E402

ARCHITECTURES = ["sm_75", "sm_80", "sm_90", "sm_120"]
# An array that is indexed at run time must lie in memory; 128 values in 32 registers must be spilled.
FAULTY_SOURCE = """
template <class T>
__global__ void stack_frame_kernel(const T* input, T* output, int n) {
  T values[64];
  for (int i = 0; i < 64; ++i) values[i] = input[i * n];
  for (int i = 0; i < n; ++i) values[i % 64] += values[i * 7 % 64];
  for (int i = 0; i < 64; ++i) output[i] = values[i];
}
template __global__ void stack_frame_kernel<float>(const float*, float*, int);

__global__ void __maxnreg__(32) spill_kernel(const float* input, float* output, int n) {
  float values[128];
#pragma unroll
  for (int i = 0; i < 128; ++i) values[i] = input[i * n];
#pragma unroll 1
  for (int k = 0; k < n; ++k) {
#pragma unroll
    for (int i = 0; i < 128; ++i) values[i] += values[i * 7 % 128] * input[k + i];
  }
#pragma unroll
  for (int i = 0; i < 128; ++i) output[i] = values[i];
}

template <class T>
__global__ void faultless_kernel(const T* input, T* output) {
  output[threadIdx.x] = input[threadIdx.x];
}
template __global__ void faultless_kernel<float>(const float*, float*);
template __global__ void faultless_kernel<double>(const double*, double*);
"""


@dataclass
class Usage:
    """What one kernel takes on one architecture."""
    kernel: str  # demangled, e.g. relu_forward_kernel<float>
    architecture: str
    registers: int = -1
    shared: int = 0
    stack: int = 0
    spills: int = 0  # bytes stored and loaded

    @property
    def name(self):
        return self.kernel.partition("<")[0]

    @property
    def is_float(self):
        """Double alone is there for gradient checks, and nobody tunes it."""
        return "double" not in self.kernel or "float" in self.kernel

    @property
    def is_faulty(self):
        return self.stack > 0 or self.spills > 0


def demangle(names):
    """{mangled: short name with template arguments}."""
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, map(short_name, done.split("\n"))))


def short_name(function):
    """ "relu_forward_kernel<float>" out of "void kg::(anonymous namespace)::relu_forward_kernel<float>(long)". """
    text, depth, begin = re.sub(r"\(anonymous namespace\)::|\w+::", "", function), 0, 0
    for i, character in enumerate(text):
        depth += (character == "<") - (character == ">")
        if depth == 0 and character == " ":
            begin = i + 1
        if depth == 0 and character == "(":
            return text[begin:i]
    return text[begin:]


def read_report(text):
    """The Usage of every kernel that a report of ptxas names."""
    found, mangled = [], []
    for line in text.split("\n"):
        if match := re.search(r"Compiling entry function '(\S+)' for '(\S+)'", line):
            mangled.append(match[1])
            found.append(Usage(match[1], match[2]))
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            # Also of functions that the kernel calls, which count as the kernel's own.
            found[-1].stack += int(match[1])
            found[-1].spills += int(match[2]) + int(match[3])
        elif match := re.search(r"Used (\d+) registers", line):
            found[-1].registers = int(match[1])
            shared = re.search(r"(\d+) bytes smem", line)
            found[-1].shared = int(shared[1]) if shared else 0
    names = demangle(mangled)
    for usage in found:
        usage.kernel = names[usage.kernel]
    return found


def check_the_reader(nvcc):
    """Says what is wrong if the faults of FAULTY_SOURCE are not found, or others are."""
    with tempfile.TemporaryDirectory(prefix="kernelgrad-ptxas-") as folder:
        source, compiled = Path(folder) / "faulty.cu", Path(folder) / "faulty.o"
        source.write_text(FAULTY_SOURCE)
        options = [f"-gencode=arch=compute_{a[3:]},code={a}" for a in ARCHITECTURES]
        launcher = Path(__file__).with_name("keep_ptxas_report")
        compiler = subprocess.run([launcher, nvcc, "-O3", *options, "-Xptxas=-v", "-c", source, "-o", compiled],
                                  capture_output=True, text=True)
        if compiler.returncode != 0:
            return f"nvcc fails: {compiler.stderr}"
        if "ptxas info" in compiler.stderr:
            return f"the launcher does not keep the report to itself: {compiler.stderr}"
        usages = read_report(Path(f"{compiled}.ptxas").read_text())
    found = sorted((u.kernel, u.architecture) for u in usages if u.is_faulty)
    expected = sorted((kernel, a) for kernel in ("spill_kernel", "stack_frame_kernel<float>") for a in ARCHITECTURES)
    if found != expected:
        return f"planted faults: found {found}, expected {expected}"
    if not all(u.spills for u in usages if u.name == "spill_kernel"):
        return "the planted spill is not found"
    if [u.is_float for u in usages if u.kernel == "faultless_kernel<double>"] != [False] * len(ARCHITECTURES):
        return "a kernel in double is not found, or taken for one in float"
    return ""


def table(usages):
    rows = [("kernel", "arch", "registers", "shared", "stack", "spills")]
    rows += [(u.kernel, u.architecture, u.registers, u.shared, u.stack, u.spills)
             for u in sorted(usages, key=lambda u: (u.kernel, ARCHITECTURES.index(u.architecture)))]
    widths = [max(len(str(row[i])) for row in rows) for i in range(6)]
    return "\n".join("  ".join(str(cell).ljust(width) if i < 2 else str(cell).rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))) for row in rows)


def main(arguments):
    if len(arguments) < 2:
        print(__doc__.strip())
        return 2
    nvcc, folders = arguments[0], arguments[1:]
    if not shutil.which(nvcc):
        print(f"{nvcc} is not there: nothing to check")
        return 77
    if fault := check_the_reader(nvcc):
        print(fault)
        return 1
    reports = [path for folder in folders for path in sorted(Path(folder).rglob("*.ptxas"))]
    usages = read_report("\n".join(path.read_text() for path in reports))
    print(f"{len(reports)} reports in {', '.join(folders)}")
    print(table(usages))
    faults = [f"{u.kernel} on {u.architecture}: {u.stack} bytes of stack frame, {u.spills} of spills"
              for u in usages if u.is_float and u.is_faulty]
    reported = {(u.name, u.architecture) for u in usages}
    faults += [f"{kernel.name} ({source.name}:{kernel.line}): no report for {architecture}"
               for source in sources() for kernel in source.kernels() for architecture in ARCHITECTURES
               if (kernel.name, architecture) not in reported]
    print("\n".join([f"{len(faults)} faults:", *faults]) if faults else
          "no spill and no stack frame in any float kernel")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
