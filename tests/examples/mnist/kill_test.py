# SPDX-License-Identifier: MIT
"""Kills training runs at random moments, and resumes them until they are finished.

Usage: kill_test.py MNIST [--kills N] [--seed S]

A run is killed (SIGKILL) again and again, and gone on with by `mnist train --resume`. At the end its folder must have
the same files with the same bytes as that of a run that nobody disturbed, times apart. After each kill the files that
are there must be whole, and all of one run: some runs begin in the folder of another, with --overwrite.

  --kills N  how many kills in all (default: 100)
  --seed S   of the moments (default: 1)

Exit status: 0 if all went well. The last line says what was done.
"""

import argparse
import csv
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import digits

# Of each kind of what a run has to remember one at least: average of the weights, one-cycle schedule; dropout,
# momentum; a schedule that looks at the test loss.
MODELS = {"kernelgrad_small": 4, "s7_final": 3, "erav1_steplr": 4}
SEEDS = [1, 2]
TIMEOUT = 300  # seconds; a run takes one on an idle machine


def header_of(path):
    """The header of a safetensors file and where its tensors begin. Fails unless the file is whole."""
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    end = max(tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__")
    assert len(data) == 8 + length + end, f"{path} is cut off"
    return header, 8 + length


def metadata_of(path):
    return header_of(path)[0]["__metadata__"]


def without_times(path):
    data = path.read_bytes()
    if path.name == "metrics.csv":
        return [row[:-1] for row in csv.reader(data.decode().splitlines())]
    if path.name == "train.log":
        return re.sub(r"\[[^][]*images/s\]", "", data.decode())
    if path.name == "state.safetensors":
        header, start = header_of(path)
        begin, end = header["epochs.seconds"]["data_offsets"]
        return data[:start + begin] + bytes(end - begin) + data[start + end:]
    return data


def contents(folder):
    return {path.name: without_times(path) for path in folder.iterdir()}


class Run:
    """One model with one seed, in folders called "run": the log has the name."""

    def __init__(self, root, model, seed):
        self.model, self.seed = model, seed
        folder = root / f"{model}-{seed}"
        folder.mkdir()
        start = time.monotonic()
        self.start(folder).wait(TIMEOUT)
        self.seconds = time.monotonic() - start
        self.contents = contents(folder / "run")
        assert metadata_of(folder / "run" / "state.safetensors")["finished"] == "1"

    def start(self, folder):
        run = folder / "run"
        command = [MNIST, "train", "--quiet"]
        state = run / "state.safetensors"
        if state.exists() and metadata_of(state)["run.seed"] == str(self.seed):
            command += ["--resume", "run"]
        else:
            command += ["--overwrite", "--out", "run", "--model", self.model, "--seed", str(self.seed), "--epochs",
                        str(MODELS[self.model]), "--batch-size", "16", "--data", str(DATA), "--device", "cpu",
                        "--threads", "1"]
        return subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE)


def seeds_in(folder, runs):
    """The seeds of the runs that the files are of. Fails unless all are whole."""
    seeds = {}
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue  # a temporary file
        data = path.read_bytes()
        if path.suffix == ".safetensors":
            seeds[path.name] = int(metadata_of(path)["run.seed" if path.name == "state.safetensors" else "seed"])
        elif path.suffix == ".png":
            assert data[-8:-4] == b"IEND", f"{path} is cut off"
        elif path.name in ("metrics.csv", "batches.csv"):
            rows = without_times(path)
            whole = [run.seed for run in runs if run.contents[path.name][:len(rows)] == rows]
            assert whole, f"{path} is of no run, or cut off"
            seeds[path.name] = whole[0]
        else:
            assert data.endswith(b"\n"), f"{path} is cut off"
    return seeds


def main():
    global MNIST, DATA
    parser = argparse.ArgumentParser()
    parser.add_argument("mnist", type=os.path.abspath)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    MNIST = arguments.mnist
    draws = random.Random(arguments.seed)
    root = Path(tempfile.mkdtemp(prefix="kernelgrad-kill-"))
    try:
        DATA = root / "data"
        digits.write_data(DATA, 80, 20)
        runs = {model: [Run(root, model, seed) for seed in SEEDS] for model in MODELS}
        kills = finished = overwriting = 0
        while kills < arguments.kills or finished < len(MODELS):
            of_model = runs[list(MODELS)[finished % len(MODELS)]]
            run, other = draws.sample(of_model, 2)
            folder = root / f"trial-{finished}"
            folder.mkdir()
            if finished % 2:
                shutil.copytree(root / f"{other.model}-{other.seed}" / "run", folder / "run")
                overwriting += 1
            while True:
                process = run.start(folder)
                try:
                    process.wait(draws.uniform(0, 1.1 * run.seconds))
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    kills += 1
                if (folder / "run").exists():
                    seeds = seeds_in(folder / "run", of_model)
                    assert len(set(seeds.values())) < 2, f"files of two runs: {seeds}"
            message = process.stderr.read().decode()
            assert process.returncode == 0, message
            found = contents(folder / "run")
            different = [name for name in sorted(found.keys() | run.contents.keys())
                         if found.get(name) != run.contents.get(name)]
            assert not different, f"{run.model}, seed {run.seed}: not as in a run without a kill: {different}"
            finished += 1
            shutil.rmtree(folder)
        print(f"{kills} kills, {finished} runs resumed to their end, {overwriting} of them in the folder of another: "
              "all files as without a kill")
    finally:
        shutil.rmtree(root)


main()
