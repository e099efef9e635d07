# SPDX-License-Identifier: MIT
"""Lets every call of the operating system that a short run of mnist makes fail once, in turn.

Usage: faults_test.py MNIST INJECT [--all] [--jobs N] [--only COMMAND[/KIND]]... [--verbose]

MNIST is the program, INJECT the library that makes a call fail (inject.cpp). For each command and each kind of call a
run without a fault counts the calls; then the first fails, then the second, until each has. A run with a fault has to
end with exit code 0 and the same results as without, or with exit code 1 and a message; never by a signal, and in
time. Whatever file it leaves is whole. What it left is gone on with, and has to end with the same results.

  --all     every call; by default some kinds have too many for that, and one of several fails (STRIDES)
  --jobs N  how many runs at the same time (default: the number of cores)
  --only    of the kinds and commands these alone

Exit status: 0 if all went well. A table of what was done comes last.
"""

import argparse
import collections
import csv
import itertools
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "mnist"))
import digits  # noqa: E402

# Every so manieth call of a kind fails unless --all is given.
STRIDES = {"open": 12, "read": 12, "close": 16, "interrupted": 16, "short-read": 16, "memory-place": 150, "memory": 1000}
# These write through null pointers or end the program where memory is gone: two libraries beneath Cairo, what the C
# library does for thread_local objects, and parts of a std::filesystem::path in libstdc++.
SPARED = "libfontconfig,libpixman,__cxa_thread_atexit_impl,path5_List"
KINDS = ["write", "print", "sync", "rename", "remove", "lock", "open", "map", "read", "close", "thread", "memory-place",
         "short-write", "short-read", "interrupted"]
# What the message has to say of the reason.
REASONS = {"write": "No space left on device", "print": "standard output", "sync": "Input/output error",
           "rename": "Permission denied", "remove": "Permission denied", "lock": "No locks available",
           "open": "Permission denied|Too many open files|no font|cannot be loaded", "map": "memory|no font",
           "read": "Input/output error|no font", "close": "Input/output error", "thread": "thread|Resource temporarily unavailable", "memory": "memory",
           "memory-place": "memory|libpng"}
HARMLESS = {"short-write", "short-read", "interrupted"}
TIMEOUT = 120  # seconds; a run takes less than one on an idle machine


class Fault(Exception):
    pass


def require(holds, message):
    if not holds:
        raise Fault(message)


def without_times(path):
    """The content of a result, with what depends on the clock left out."""
    data = path.read_bytes()
    if path.name == "metrics.csv":
        return [row[:-1] for row in csv.reader(data.decode().splitlines())]
    if path.name == "state.safetensors":
        start = 8 + struct.unpack("<Q", data[:8])[0]
        begin, end = json.loads(data[8:start])["epochs.seconds"]["data_offsets"]
        return data[:start + begin] + bytes(end - begin) + data[start + end:]
    if path.name in ("train.log", "output.txt"):
        return re.sub(r"\[[^][]*images/s\]", "", data.decode())
    if path.name in ("results.csv", "table.csv"):
        return [{name: value for name, value in row.items() if name != "seconds_per_epoch"}
                for row in csv.DictReader(data.decode().splitlines())]
    if path.name == "table.md":
        return re.sub(r"\d+\.\d(?= \|)", "", data.decode())
    return data


def check_whole(path):
    """Nothing is missing at the end of a file."""
    data = path.read_bytes()
    if path.suffix in (".csv", ".md", ".log", ".ini", ".txt"):
        require(data.endswith(b"\n") or path.name == "output.txt", f"{path.name} ends within a line")
    elif path.suffix == ".safetensors":
        length, = struct.unpack("<Q", data[:8])
        ends = [int(end) for end in re.findall(rb'"data_offsets":\[\d+,(\d+)\]', data[8:8 + length])]
        require(len(data) == 8 + length + max(ends), f"{path.name} is {len(data)} bytes long")
    elif path.suffix == ".png":
        at = 8
        while at < len(data):
            size, = struct.unpack(">I", data[at:at + 4])
            checksum, = struct.unpack(">I", data[at + 8 + size:at + 12 + size])
            require(checksum == zlib.crc32(data[at + 4:at + 8 + size]), f"{path.name} is damaged")
            at += 12 + size
        require(data[-8:-4] == b"IEND", f"{path.name} has no end")
    else:
        raise Fault(f"{path.name} is there")


class Results:
    """The files of a folder, and what was printed."""

    def __init__(self, folder, printed):
        times = r"\[[^][]*images/s\]|\d+\.\d s an epoch|\d+\.\d(?= \|)"
        self.printed = re.sub(times, "", printed)
        self.files = {path.relative_to(folder): without_times(path) for path in files_in(folder)}

    def require_equal(self, other, printed=True):
        # Which fonts are found is the system's affair, and the faults' as well. A run of a sweep prints output.txt.
        require(set(self.files) == set(other.files), f"there are {sorted(set(self.files) ^ set(other.files))}")
        for path, content in self.files.items():
            same = content == other.files[path] or path.suffix == ".png" or (not printed and path.name == "output.txt")
            require(same, f"{path} differs")
        require(not printed or self.printed == other.printed, "what was printed differs")


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


class Command:
    """A command whose calls fail."""

    def __init__(self, name, arguments, anew):
        self.name, self.arguments, self.anew = name, arguments, anew
        self.number = itertools.count()

    def go_on(self, out):
        """How one goes on with what a run has left in the folder."""
        if self.name == "train" and (out / "state.safetensors").exists():
            return ["train", "--resume", "run"]
        return [*self.arguments, *self.anew]

    def folder(self, root):
        """A new folder with one of the same name in each, "run": results have it in them."""
        parent = root / f"{self.name}-{next(self.number)}"
        parent.mkdir()
        return parent / "run"


def run(program, arguments, out, environment=None):
    return subprocess.run([program, *map(str, arguments)], cwd=out.parent, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="backslashreplace",
                          timeout=TIMEOUT, env={**os.environ, **(environment or {})})


class Faults:
    def __init__(self, program, inject, root):
        self.program, self.inject, self.root = program, inject, root
        self.messages = collections.Counter()

    def with_fault(self, command, kind, number):
        """Runs with the call of that number failing, and returns folder, result and how many calls there were."""
        out = command.folder(self.root)
        report = out.parent / "calls"
        result = run(self.program, command.arguments, out, {
            "LD_PRELOAD": self.inject, "KG_FAULT": kind, "KG_FAULT_AT": str(number), "KG_FAULT_SPARE": SPARED,
            "KG_FAULT_REPORT": str(report)})
        return out, result, int(report.read_text()) if report.exists() else 0

    def normal(self, command):
        """The results without a fault."""
        out = command.folder(self.root)
        result = run(self.program, command.arguments, out)
        require(result.returncode == 0, f"fails without a fault: {result.stderr}")
        return Results(out, result.stdout)

    def check(self, command, kind, number, normal):
        """Throws Fault, or returns whether the run failed."""
        out, result, _ = self.with_fault(command, kind, number)
        require(result.returncode in (0, 1), f"exit code {result.returncode}")
        for path in files_in(out):
            check_whole(path)
        if result.returncode == 0:
            require("mnist: " not in result.stderr, f"success with an error: {result.stderr}")
            # A file that was not found looks like one that is not there.
            Results(out, result.stdout).require_equal(normal)
        else:
            require(kind not in HARMLESS, f"failed: {result.stderr}")
            self.check_message(command, kind, result)
            again = run(self.program, command.go_on(out), out)
            require(again.returncode == 0, f"does not go on: {again.stderr}")
            Results(out, "").require_equal(normal, printed=False)
        shutil.rmtree(out.parent, ignore_errors=True)
        return result.returncode != 0

    def check_message(self, command, kind, result):
        stderr = result.stderr
        lines = [line for line in stderr.splitlines() if line.startswith("mnist: ")]
        require(len(lines) == 1 or (command.name == "sweep" and "runs failed" in stderr), f"no message: {stderr!r}")
        require(all(character.isprintable() or character == "\n" for character in stderr), f"unprintable: {stderr!r}")
        require("std::" not in stderr and "basic_" not in stderr, f"an unclear message: {stderr}")
        require(re.search(REASONS[kind], stderr + result.stdout), f"no reason: {stderr}")
        self.messages[kind, stderr] += 1


def commands(root):
    data, tiny = root / "data", root / "digit.png"
    digits.write_data(data, train=24, test=10)
    tiny.write_bytes(digits.png(digits.draw_digit(3, random.Random(1)), 28, 28))
    common = ["--device", "cpu", "--threads", "2"]
    train = ["train", "--data", data, "--out", "run", "--epochs", "2", "--batch-size", "12", *common]
    anew = ["--overwrite"]
    model = root / "run" / "model.safetensors"
    return [
        Command("train", train, anew),
        Command("eval", ["eval", model, "--data", data, "--out", "run", *common], anew),
        Command("predict", ["predict", model, tiny, *common], []),
        Command("sweep", ["sweep", "s7_final", "--seeds", "1", "--epochs", "1", "--data", data, "--out", "run", *common],
                []),
    ], train


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist")
    parser.add_argument("inject")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()

    root = Path(tempfile.mkdtemp(prefix="kernelgrad-faults-"))
    faults = Faults(os.path.abspath(options.mnist), os.path.abspath(options.inject), root)
    status = 0
    print(f"{'command':8} {'kind':12} {'calls':>6} {'failed':>7} {'error':>6} {'success':>8} {'wrong':>6}")
    try:
        chosen, train = commands(root)
        result = run(faults.program, train, root / "run")
        require(result.returncode == 0, result.stderr)
        for command in chosen:
            normal = faults.normal(command)
            for kind in KINDS:
                if options.only and not {command.name, kind, f"{command.name}/{kind}"} & set(options.only):
                    continue
                _, _, calls = faults.with_fault(command, kind, 0)
                numbers = range(1, calls + 1, 1 if options.all else STRIDES.get(kind, 1))
                outcomes = collections.Counter()

                def check(number):
                    try:
                        return "error" if faults.check(command, kind, number, normal) else "success"
                    except (Fault, subprocess.TimeoutExpired) as fault:
                        print(f"{command.name}, {kind} {number}: {fault}", file=sys.stderr)
                        return "wrong"

                with ThreadPoolExecutor(options.jobs) as pool:
                    outcomes.update(pool.map(check, numbers))
                print(f"{command.name:8} {kind:12} {calls:6} {len(numbers):7} {outcomes['error']:6} "
                      f"{outcomes['success']:8} {outcomes['wrong']:6}", flush=True)
                status |= outcomes["wrong"] > 0
        if options.verbose:
            for (kind, message), count in sorted(faults.messages.items()):
                print(f"{count:5} {kind}: {message.strip()}")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
