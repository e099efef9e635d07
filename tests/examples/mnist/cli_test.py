# SPDX-License-Identifier: MIT
"""Runs the program mnist as a user does, on a small data set of digits drawn here.

Usage: cli_test.py MNIST [ARGUMENT OF UNITTEST...]
Exit status: 0 if all tests pass.
"""

import csv
import fcntl
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest
from pathlib import Path

import digits
from digits import idx, png

MNIST = os.path.abspath(sys.argv[1])
HEADER = "epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy,seconds"
TEST_FILES = ["confusion.png", "misclassified.png", "per_class.csv", "per_class.png", "predictions.png"]
FILES = sorted(TEST_FILES + ["augmented.png", "batches.csv", "best.safetensors", "comparison.png", "curves.png",
                             "metrics.csv", "model.safetensors", "options.ini", "state.safetensors", "train.log"])
# What a run has in its folder before its first epoch is finished.
FILES_OF_NO_EPOCH = ["options.ini", "state.safetensors"]
COMMANDS = ["train", "sweep", "eval", "predict", "list", "summary", "rf"]
TRAIN_IMAGES, TEST_IMAGES = 200, 50
# Of a data set for runs of which nothing is asked that they could learn from it.
FEW_TRAIN_IMAGES, FEW_TEST_IMAGES = 24, 10
# A hanging program fails its test instead of holding up the others; sanitizers and busy machines are slow.
TIMEOUT = 120


def write_data(directory, repeat_train=1):
    return digits.write_data(directory, TRAIN_IMAGES, TEST_IMAGES, repeat_train)


def setUpModule():
    global ROOT, DATA, FEW, TEST_SET, ENVIRONMENT, RUN, TRAINING
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children would inherit that a background job ignores it
    ROOT = Path(tempfile.mkdtemp(prefix="kernelgrad-cli-"))
    unittest.addModuleCleanup(shutil.rmtree, ROOT)
    ENVIRONMENT = {**os.environ, "TERM": "xterm"}
    ENVIRONMENT.pop("MNIST_DIR", None)
    DATA = ROOT / "data set"
    TEST_SET = write_data(DATA)
    FEW = ROOT / "few images"
    digits.write_data(FEW, FEW_TRAIN_IMAGES, FEW_TEST_IMAGES)
    RUN = ROOT / "run"
    TRAINING = mnist("train", "--epochs", 6, "--batch-size", 24, "--data", DATA, "--out", RUN, "--device", "cpu")


def mnist(*arguments, cwd=None, environment=None, **options):
    return subprocess.run([MNIST, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, cwd=cwd or ROOT,
                          env={**ENVIRONMENT, **(environment or {})}, **options)


def names_in(directory):
    return sorted(path.name for path in directory.iterdir())


def metrics_of(directory):
    """The rows of metrics.csv; fails unless the file is whole."""
    text = (directory / "metrics.csv").read_text()
    assert text.endswith("\n"), text
    assert text.splitlines()[0] == HEADER, text
    rows = list(csv.DictReader(text.splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1)), text
    for row in rows:
        assert None not in row and all(float(value) == float(value) for value in row.values()), text
    return rows


class Test(unittest.TestCase):
    def setUp(self):
        self.directory = Path(tempfile.mkdtemp(dir=ROOT))

    def check_clean(self, result):
        for sign_of_a_crash in ("terminate called", "Sanitizer", "runtime error:", "Segmentation"):
            self.assertNotIn(sign_of_a_crash, result.stdout + result.stderr)

    def succeed(self, *arguments, **options):
        result = mnist(*arguments, **options)
        self.check_clean(result)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertEqual(result.stderr, "")
        return result.stdout

    def fail_with(self, parts, *arguments, code=1, **options):
        """Runs into an error whose message has every part; the program's own errors give the exit code 1."""
        result = mnist(*arguments, **options)
        self.check_clean(result)
        if code is None:
            self.assertGreater(result.returncode, 0)
        else:
            self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        for part in parts:
            self.assertIn(str(part), result.stderr)
        return result

    def train(self, *arguments, out, data=None, **options):
        return self.succeed("train", "--device", "cpu", "--data", data or FEW, "--out", out, *arguments, **options)


class Help(Test):
    def test_help(self):
        for command in [[], *([command] for command in COMMANDS)]:
            with self.subTest(command=command):
                self.assertIn("Usage: mnist", self.succeed(*command, "--help"))
                self.assertEqual(self.succeed(*command, "-h"), self.succeed(*command, "--help"))
                self.assertEqual(self.succeed("help", *command), self.succeed(*command, "--help"))
        self.assertEqual([name for name in COMMANDS if name not in self.succeed("--help")], [])
        self.assertIn("Exit codes: 0 success, 1", self.succeed("--help"))
        train_help = self.succeed("train", "--help")
        for option in "model epochs batch-size seed device threads out data quiet no-graph".split():
            self.assertIn(f"--{option}", train_help)

    def test_version(self):
        cmake = (Path(__file__).parents[3] / "CMakeLists.txt").read_text()
        version = re.search(r"project\(kernelgrad VERSION (\S+)", cmake).group(1)
        self.assertEqual(self.succeed("--version"), f"mnist (kernelgrad) {version}\n")

    def test_list_names_every_model(self):
        heading, *lines = self.succeed("list").splitlines()
        self.assertEqual(heading.split()[:3], ["id", "parameters", "published"])
        self.assertGreaterEqual(len(lines), 34)
        rows = {line.split()[0]: line.split()[1:3] for line in lines}
        self.assertEqual(rows["s7_final"], ["7,676", "99.48"])
        self.assertEqual(rows["classic_step2"], ["12,236", "~98.60"])  # said in words only
        for model, (parameters, _) in rows.items():
            self.assertIn(f"Total params: {parameters}\n", self.succeed("summary", model))
            self.assertIn("| conv1   |     1 |   28 |", self.succeed("rf", model))
        for line in lines:
            self.assertLessEqual(len(line), 100)

    def test_summary(self):
        table = self.succeed("summary", "s7_final")
        self.assertIn("\n         ConvBlock-5            [-1, 4, 26, 26]               0\n", table)
        self.assertIn("\nTotal params: 7,676\n", table)


class WrongArguments(Test):
    def misuse(self, parts, *arguments, **options):
        """A command line that is refused before anything is read or done: exit code 2."""
        result = self.fail_with(parts, *arguments, code=2, **options)
        self.assertEqual(result.stdout, "")
        return result.stderr

    def test_misuse(self):
        whole = "expected a whole number from"
        for arguments, parts in [
            ([], ["Usage: mnist", "train", "sweep", "eval", "predict"]),
            (["fit"], ["unknown command fit", "expected one of: train, sweep", "mnist --help"]),
            (["--seed", "1"], ["unknown option --seed", "mnist --help"]),
            (["--quiet", "train"], ["unknown option --quiet"]),
            (["train", "--learning-rate", "1"], ["unknown option --learning-rate", "mnist train --help"]),
            (["train", "--epochs"], ["--epochs"]),
            (["train", "--epochs", "1", "--epochs", "2"], ["--epochs"]),
            (["train", "--quiet=maybe"], ["quiet"]),
            (["train", "extra"], ["unexpected argument extra", "mnist train --help"]),
            (["list", "s7_final"], ["unexpected argument s7_final", "mnist list --help"]),
            (["help", "fit"], ["fit", "train, sweep, eval"]),
            (["train", "--device", "opencl"], ["--device", '"opencl" given, expected one of: auto, cpu, cuda']),
            (["sweep", "--device", ""], ["--device", '"" given, expected one of: auto, cpu, cuda']),
            (["eval", "x", "--device", "gpu"], ["--device", '"gpu" given']),
            (["train", "--dataset", "cifar"], ["--dataset", '"cifar" given, expected one of: mnist, fashion-mnist']),
            (["train", "--epochs", "0"], ["--epochs", '"0" given', f"{whole} 1 to 1000000"]),
            (["train", "--epochs", "1000001"], ["--epochs", f"{whole} 1 to 1000000"]),
            (["train", "--epochs", "few"], ["--epochs", '"few" given', f"{whole} 1 to 1000000"]),
            (["train", "--epochs", "1.5"], ["--epochs", '"1.5" given', whole]),
            (["train", "--epochs", "0x10"], ["--epochs", '"0x10" given', whole]),
            (["train", "--epochs", " 1"], ["--epochs", '" 1" given', whole]),
            (["train", "--epochs", str(2 ** 32 + 1)], ["--epochs", str(2 ** 32 + 1), whole]),
            (["train", "--batch-size", "1"], ["--batch-size", '"1" given', f"{whole} 2 to"]),
            (["train", "--validation", "0"], ["--validation", '"0" given', f"{whole} 1 to"]),
            (["train", "--threads", "0"], ["--threads", '"0" given', f"{whole} 1 to 1024"]),
            (["train", "--threads", "1025"], ["--threads", '"1025" given', f"{whole} 1 to 1024"]),
            (["train", "--threads", ""], ["--threads", '"" given', whole]),
            (["sweep", "--jobs", "0"], ["--jobs", '"0" given', f"{whole} 1 to 1024"]),
            (["train", "--seed", "-1"], ["--seed", '"-1" given', f"{whole} 0 to {2 ** 64 - 1}"]),
            (["train", "--seed", "010"], ["--seed", '"010" given', whole]),
            (["train", "--seed", str(2 ** 64)], ["--seed", f'"{2 ** 64}" given', whole]),
            (["train", "--lr", "-0.1"], ["--lr", '"-0.1" given, expected a number of at least 0']),
            (["train", "--lr", "nan"], ["--lr", '"nan" given, expected a number of at least 0']),
            (["train", "--lr", "inf"], ["--lr", '"inf" given, expected a number of at least 0']),
            (["train", "--lr", "1e400"], ["--lr", '"1e400" given']),
            (["train", "--lr", "0,1"], ["--lr", '"0,1" given']),
            (["sweep", "--seeds", "3-1"], ["--seeds", '"3-1" given']),
            (["sweep", "--seeds", "1,,2"], ["--seeds", '"1,,2" given']),
            (["sweep", "--seeds", "1-10001"], ["--seeds", "10000"]),
            (["eval", "x", "--kernels", "best"], ["--kernels", "best"]),
            (["train", "--device", "cpu", "--kernels", "native"], ["--kernels", "--device cuda", "cpu"]),
            (["train", "--device", "cpu", "--allow-tf32"], ["--allow-tf32", "--device cuda", "cpu"]),
            (["eval"], ["CHECKPOINT", "mnist eval --help"]),
            (["predict", "model.safetensors"], ["FILE", "mnist predict --help"]),
            (["summary"], ["ID", "mnist summary --help"]),
            (["rf"], ["ID", "mnist rf --help"]),
        ]:
            with self.subTest(arguments=arguments):
                self.misuse(parts, *arguments, cwd=self.directory, environment={"MNIST_DIR": str(DATA)})
        self.assertEqual(names_in(self.directory), [])

    def test_typos_get_a_suggestion(self):
        for arguments, meant in [
            (["trian"], "train"), (["Train"], "train"), (["swep"], "sweep"), (["predit", "x", "y"], "predict"),
            (["evaluate", "x"], None), (["xyz"], None),
            (["train", "--modle", "s7_final"], "--model"), (["train", "--epoch=3"], "--epochs"),
            (["train", "--batchsize", "3"], "--batch-size"), (["train", "--batch_size", "3"], "--batch-size"),
            (["sweep", "--job", "2"], "--jobs"), (["eval", "x", "--dat", "y"], "--data"),
            (["predict", "x", "y", "--thread", "2"], "--threads"), (["--versoin"], "--version"),
            (["train", "--momentum", "1"], None),
            (["train", "--model", "s7_finl"], "s7_final"), (["summary", "S7_FINAL"], "s7_final"),
            (["rf", "s7-final"], "s7_final"), (["sweep", "s7_final", "kernelgrad8k"], "kernelgrad_8k"),
            (["train", "--model", "resnet18"], None),
            (["train", "--device", "cdua"], "cuda"), (["train", "--device", "CPU"], "cpu"),
            (["train", "--dataset", "fashion_mnist"], "fashion-mnist"), (["help", "tarin"], "train"),
        ]:
            with self.subTest(arguments=arguments):
                error = self.misuse([], *arguments)
                if meant:
                    self.assertIn(f"(did you mean {meant}?)", error)
                else:
                    self.assertNotIn("did you mean", error)

    def test_ranges_are_those_of_the_data(self):
        for arguments, parts in [
            (["--batch-size", TRAIN_IMAGES + 1], ["--batch-size", f"from 2 to {TRAIN_IMAGES},"]),
            (["--validation", TRAIN_IMAGES], ["--validation", f"from 1 to {TRAIN_IMAGES - 1}:"]),
            (["--validation", 50, "--batch-size", TRAIN_IMAGES - 49], ["--batch-size", f"from 2 to {TRAIN_IMAGES - 50},"]),
        ]:
            self.misuse(parts, "train", "--data", DATA, "--device", "cpu", "--out", self.directory / "out", *arguments)
        self.assertEqual(names_in(self.directory), [])
        for arguments in (["--batch-size", TRAIN_IMAGES], ["--validation", TRAIN_IMAGES - 2, "--batch-size", 2]):
            self.train("--epochs", 1, "--quiet", *arguments, data=DATA, out=self.directory / f"run{len(arguments)}")

    def test_files_are_looked_for_first(self):
        """Before anything else is read or printed: the rest of each command line is wrong as well."""
        nowhere, file = self.directory / "nowhere", self.directory / "file"
        file.write_text("text")
        model = RUN / "model.safetensors"
        for path, part, arguments in [
            (nowhere, "No such file", ["eval", nowhere, "--data", self.directory]),
            (nowhere, "No such file", ["predict", nowhere, nowhere]),
            (self.directory, "is a folder", ["eval", self.directory]),
            (self.directory, "is a folder", ["predict", self.directory, nowhere]),
            (file, "is a file", ["eval", model, "--out", file, "--data", nowhere]),
            (file, "is a file", ["train", "--out", file, "--data", nowhere]),
            (file, "is a file", ["sweep", "--out", file, "--data", nowhere]),
            (nowhere, "no such folder", ["eval", model, "--data", nowhere]),
            (nowhere, "no such folder", ["train", "--data", nowhere]),
            (nowhere, "no such folder", ["sweep", "--data", nowhere]),
        ]:
            with self.subTest(arguments=arguments):
                result = self.fail_with([f"mnist: {path}: {part}"], *arguments)
                self.assertEqual(result.stdout, "")
        self.assertEqual(names_in(self.directory), ["file"])

    def test_device(self):
        chosen = self.succeed("eval", RUN / "model.safetensors", "--data", DATA, "--threads", 2).splitlines()[0]
        self.assertRegex(chosen, r"^device: (cpu \(auto: .+\)|cuda \(.+\)), 2 CPU threads$")
        if chosen.startswith("device: cuda"):
            return
        why = re.search(r"\(auto: (.+)\)", chosen).group(1)
        for arguments in (["train", "--out", self.directory / "out"], ["eval", RUN / "model.safetensors"]):
            self.fail_with(["cuda is not available", why], *arguments, "--data", DATA, "--device", "cuda")
        self.assertEqual(names_in(self.directory), [])


class BadData(Test):
    def train_on(self, data):
        """Arguments that would leave something in self.directory, which has to stay empty."""
        return ["train", "--device", "cpu", "--data", data, "--out", self.directory / "out"]

    def spoilt_data(self, name, spoil):
        data = ROOT / f"{self.id()} {name}"
        shutil.copytree(DATA, data)
        (data / name).write_bytes(spoil((data / name).read_bytes()))
        return data

    def test_missing(self):
        nowhere = self.directory / "nowhere"
        self.fail_with([nowhere, "expected", "four IDX files"], *self.train_on(nowhere))
        empty = ROOT / "empty"
        empty.mkdir()
        self.fail_with([empty, "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"], *self.train_on(empty))
        # Where the default is, says the message.
        self.fail_with(["data/mnist"], "train", cwd=self.directory)
        self.fail_with([nowhere], "train", cwd=self.directory, environment={"MNIST_DIR": str(nowhere)})
        self.assertEqual(names_in(self.directory), [])

    def test_corrupt(self):
        half_way = lambda data: data[:len(data) // 2]
        flip = lambda data: data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 0xFF]) + data[len(data) // 2 + 1:]
        for name, spoil, part in [
            ("t10k-images-idx3-ubyte.gz", half_way, "truncated"),
            ("t10k-images-idx3-ubyte.gz", flip, "corrupt"),
            ("train-images-idx3-ubyte", half_way, "truncated"),
            ("train-images-idx3-ubyte", lambda data: data + b"x", "trailing"),
            ("train-labels-idx1-ubyte.gz", lambda data: b"no data", "magic number"),
            ("t10k-labels-idx1-ubyte", lambda data: idx([3], b"\0\1\2"), "one label per image"),
        ]:
            with self.subTest(name=name, part=part):
                data = self.spoilt_data(name, spoil)
                self.fail_with([data / name, part], *self.train_on(data))
                shutil.rmtree(data)
        self.assertEqual(names_in(self.directory), [])

    def test_data_from_the_environment_and_the_default_folder(self):
        by_option = self.succeed("eval", RUN / "model.safetensors", "--data", DATA)
        by_environment = self.succeed("eval", RUN / "model.safetensors", environment={"MNIST_DIR": str(DATA)})
        self.assertEqual(by_environment, by_option)
        fashion = ROOT / "fashion"
        self.train("--dataset", "fashion-mnist", "--epochs", 1, "--quiet", out=fashion)
        for dataset, run in (("mnist", RUN), ("fashion-mnist", fashion)):
            shutil.copytree(DATA, self.directory / "data" / dataset)
            by_option = self.succeed("eval", run / "model.safetensors", "--data", DATA)
            self.assertEqual(self.succeed("eval", run / "model.safetensors", cwd=self.directory), by_option)
        # MNIST_DIR is MNIST's: nothing else is read there.
        shutil.rmtree(self.directory / "data" / "fashion-mnist")
        self.fail_with(["data/fashion-mnist: no such folder"], "eval", fashion / "model.safetensors",
                       cwd=self.directory, environment={"MNIST_DIR": str(DATA)})


class Training(Test):
    def test_output(self):
        self.check_clean(TRAINING)
        self.assertEqual((TRAINING.returncode, TRAINING.stderr), (0, ""))
        lines = TRAINING.stdout.splitlines()
        self.assertRegex(lines[0], r"^device: cpu, \d+ CPU threads?$")
        self.assertEqual(lines[1], "model: s7_final, 7,676 parameters; 200 training images, 50 test images; "
                                   f"results in {RUN}")
        # No terminal: the epoch, one progress line, the test line, an empty line.
        self.assertEqual(lines[2], "")
        epochs = [lines[i:i + 4] for i in range(3, 3 + 6 * 4, 4)]
        for number, (epoch, progress, test, empty) in enumerate(epochs, start=1):
            self.assertEqual(epoch, f"EPOCH: {number}")
            self.assertRegex(progress, r"^Loss=\S+ Batch_id=8 Accuracy=\d+\.\d\d: 100%\|█+\| 9/9 \[.* images/s\]$")
            self.assertRegex(test, r"^Test set: Average loss: \d+\.\d{4}, Accuracy: \d+/50 \(\d+\.\d\d%\)$")
            self.assertEqual(empty, "")
        parameters, train, test, best, empty, *classes, last_empty, verdict = lines[3 + 6 * 4:]
        self.assertEqual(parameters, "Parameters: 7,676")
        self.assertRegex(train, r"^Best Train Accuracy: \d+\.\d\d% \(epoch \d\)$")
        self.assertRegex(test, r"^Best Test Accuracy: \d+\.\d\d% \(epoch \d\)$")
        epoch = re.search(r"\(epoch (\d)\)", test).group(1)
        self.assertEqual(best, f"best.safetensors: epoch {epoch}, chosen by test accuracy; expect less of it on "
                               "other images")
        self.assertEqual([empty, last_empty], ["", ""])
        self.assertEqual(len(classes), 10)
        for line, name in zip(classes, ("0 - zero", "1 - one", "2 - two")):
            self.assertRegex(line, rf"^Accuracy of {name} : \d+\.\d\d % \(\d/5\)$")
        self.assertEqual(verdict, lines[-1])
        self.assertEqual(lines[-1], "Goal not judged: it is one for the test images of MNIST, and these are others.")
        self.assertNotIn("\r", TRAINING.stdout)

    def test_log_is_what_was_printed(self):
        self.assertEqual((RUN / "train.log").read_text(), TRAINING.stdout)

    def test_log_of_a_quiet_run(self):
        self.train("--epochs", 1, "--batch-size", 12, "--quiet", out=self.directory)
        lines = (self.directory / "train.log").read_text().splitlines()
        self.assertEqual(lines[3], "EPOCH: 1")
        self.assertRegex(lines[4], r"^Loss=\S+ Batch_id=1 Accuracy=\d+\.\d\d: 100%.* 2/2 ")

    def test_batches(self):
        rows = list(csv.DictReader((RUN / "batches.csv").read_text().splitlines()))
        self.assertEqual([(int(row["epoch"]), int(row["batch"])) for row in rows],
                         [(epoch, batch) for epoch in range(1, 7) for batch in range(9)])
        for epoch, row in zip(metrics_of(RUN), rows[8::9]):
            self.assertEqual(row["accuracy"], epoch["train_accuracy"])

    def test_classes(self):
        rows = list(csv.DictReader((RUN / "per_class.csv").read_text().splitlines()))
        self.assertEqual([row["images"] for row in rows], ["5"] * 10)
        correct = sum(int(row["correct"]) for row in rows)
        self.assertEqual(correct, round(float(metrics_of(RUN)[-1]["test_accuracy"]) * TEST_IMAGES / 100))

    def test_results(self):
        self.assertEqual(names_in(RUN), FILES)
        rows = metrics_of(RUN)
        self.assertEqual(len(rows), 6)
        self.assertEqual({float(row["lr"]) for row in rows}, {0.04})
        self.assertLess(float(rows[-1]["train_loss"]), float(rows[0]["train_loss"]))
        for name in FILES:
            if name.endswith(".png"):
                self.assertEqual((RUN / name).read_bytes()[:8], b"\x89PNG\r\n\x1a\n", name)

    def test_checkpoint_is_safetensors_with_pytorchs_names(self):
        data = (RUN / "model.safetensors").read_bytes()
        length, = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + length])
        metadata = header.pop("__metadata__")
        self.assertRegex(metadata.pop("tested_on"), "^test 50 [0-9a-f]{8}$")
        version = self.succeed("--version").split()[-1]
        self.assertEqual(metadata, {
            "format": "pt", "kernelgrad": version, "model": "s7_final", "dataset": "mnist",
            "class_names": "0,1,2,3,4,5,6,7,8,9", "pixel_mean": "0.1307", "pixel_std": "0.3081",
            "image_size": "1x28x28", "accuracy": metrics_of(RUN)[-1]["test_accuracy"], "epoch": "6", "seed": "1"})
        self.assertEqual(header["0.0.weight"]["shape"], [4, 1, 3, 3])
        self.assertEqual(header["7.weight"]["shape"], [10, 16, 1, 1])
        self.assertEqual(max(tensor["data_offsets"][1] for tensor in header.values()), len(data) - 8 - length)

    def test_default_folder(self):
        def train(*arguments):
            return ["train", "--quiet", "--data", FEW, "--device", "cpu", *arguments]

        for arguments, folder in [
            (["--epochs", 1, "--seed", 12], "s7_final-seed12-epochs1"),
            (["--epochs", 1, "--batch-size", 24], "s7_final-seed1-epochs1-batch24"),
            (["--epochs", 1, "--lr", 0.5], "s7_final-seed1-epochs1-lr0.5"),
            (["--epochs", 1, "--lr", 0.04, "--batch-size", 128], "s7_final-seed1-epochs1"),
            (["--epochs", 1, "--validation", 20], "s7_final-seed1-validation20-epochs1"),
            (["--epochs", 1, "--dataset", "fashion-mnist"], "s7_final-seed1-fashion-mnist-epochs1"),
            (["--epochs", 1, "--model", "era_model9"], "era_model9-seed1-epochs1"),
        ]:
            with self.subTest(folder=folder):
                self.succeed(*train(*arguments), cwd=self.directory)
                self.assertEqual(names_in(self.directory / "runs" / folder), FILES)
        self.assertEqual(len(names_in(self.directory / "runs")), 7)
        # What is the recipe's own default anyway is the same run.
        self.fail_with(["runs/s7_final-seed1-epochs1: has a finished run"], *train("--epochs", 1, "--lr", 0.04),
                       cwd=self.directory)

    def test_quiet(self):
        lines = self.train("--epochs", 1, "--quiet", out=self.directory).splitlines()
        starts = [line.split()[0] for line in lines if line]
        self.assertEqual(starts, ["device:", "model:", "Goal"], lines)
        self.assertEqual(names_in(self.directory), FILES)

    def test_second_run_replaces_the_first_only_if_told_so(self):
        self.train("--epochs", 2, "--quiet", out=self.directory)
        before = {name: (self.directory / name).read_bytes() for name in FILES}
        arguments = ["--epochs", 1, "--seed", 2, "--quiet"]
        self.fail_with([f"{self.directory}: has a finished run of 2 epochs", "--overwrite", "--out"], "train",
                       "--device", "cpu", "--data", FEW, "--out", self.directory, *arguments)
        self.assertEqual({name: (self.directory / name).read_bytes() for name in FILES}, before)
        self.train(*arguments, "--overwrite", out=self.directory)
        self.assertEqual(names_in(self.directory), FILES)
        self.assertEqual(len(metrics_of(self.directory)), 1)
        for name in ("metrics.csv", "model.safetensors", "curves.png"):
            self.assertNotEqual((self.directory / name).read_bytes(), before[name], name)

    def test_same_seed_same_bytes(self):
        for threads in (1, 2):
            self.train("--epochs", 1, "--seed", 7, "--threads", threads, "--quiet", data=DATA,
                       out=self.directory / str(threads))
        one, two = ((self.directory / threads / "model.safetensors").read_bytes() for threads in "12")
        self.assertEqual(one, two)


class Sweep(Test):
    def setUp(self):
        super().setUp()
        self.out = self.directory / "sweep"
        self.arguments = self.arguments_for(["s7_final", "classic_step2"], "1-2")

    def arguments_for(self, models, seeds, data=None):
        return ["sweep", *models, "--seeds", seeds, "--data", data or FEW, "--device", "cpu", "--out", self.out]

    def rows(self):
        """The lines of results.csv by (id, seed); fails unless the file is whole."""
        text = (self.out / "results.csv").read_text()
        self.assertTrue(text.endswith("\n"), text)
        return {tuple(line.split(",")[:2]): line for line in text.splitlines()[1:]}

    def start(self, *arguments):
        process = subprocess.Popen([MNIST, *map(str, [*self.arguments, *arguments])], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def wait_for(self, path):
        deadline = time.monotonic() + TIMEOUT
        while not path.exists():
            self.assertLess(time.monotonic(), deadline, f"{path} does not appear")
            time.sleep(0.002)

    def check_output(self, output, done, lines):
        """The whole output, but for times."""
        table = (self.out / "table.md").read_text()
        self.assertTrue(output.endswith("\n\n" + table), output)
        head, start, *progress = output[:-len("\n" + table)].splitlines()
        self.assertRegex(head, r"^device: cpu, \d+ CPU threads?$")
        self.assertEqual(start, f"4 runs, {done} of them done already; 2 at a time; results in {self.out}")
        self.assertEqual(len(progress), lines)
        for number, line in enumerate(progress, start=done + 1):
            left = "" if number == 4 else r", about \d+ (s|min) left"
            self.assertRegex(line, rf"^\[{number}/4\] (s7_final|classic_step2) seed [12]: \d+\.\d\d % in the last "
                                   rf"epoch, \d+\.\d s an epoch{left}$")

    def test_output_and_results(self):
        arguments = [*self.arguments, "--epochs", 1, "--jobs", 2]
        self.check_output(self.succeed(*arguments), done=0, lines=4)
        runs = [f"{model}-seed{seed}" for model in ("classic_step2", "s7_final") for seed in (1, 2)]
        self.assertEqual(names_in(self.out), sorted(["results.csv", "table.csv", "table.md", *runs]))
        accuracies = {run: metrics_of(self.out / run)[-1]["test_accuracy"] for run in runs}
        for (model, seed), row in self.rows().items():
            accuracy = accuracies[f"{model}-seed{seed}"]
            self.assertIn(f",ok,1,{7676 if model == 's7_final' else 12236}," + 4 * f"{accuracy},", row)
        tabled = list(csv.DictReader((self.out / "table.csv").read_text().splitlines()))
        self.assertEqual([row["id"] for row in tabled], ["s7_final", "classic_step2"])
        for row in tabled:
            both = [float(accuracies[f"{row['id']}-seed{seed}"]) for seed in (1, 2)]
            self.assertAlmostEqual(float(row["last_five_mean"]), sum(both) / 2)
            self.assertEqual((float(row["last_five_min"]), float(row["best"])), (min(both), max(both)))

        before = (self.out / "results.csv").read_bytes(), (self.out / runs[0] / "train.log").stat().st_mtime_ns
        self.check_output(self.succeed(*arguments), done=4, lines=0)
        after = (self.out / "results.csv").read_bytes(), (self.out / runs[0] / "train.log").stat().st_mtime_ns
        self.assertEqual(after, before)

    def test_a_run_is_what_train_makes_of_it(self):
        self.succeed(*self.arguments_for(["s7_final"], 7), "--epochs", 1)
        self.train("--epochs", 1, "--seed", 7, "--quiet", out=self.directory / "train")
        of_sweep, of_train = self.out / "s7_final-seed7", self.directory / "train"
        self.assertEqual(names_in(of_sweep), sorted([*FILES, "output.txt"]))
        for name in ("model.safetensors", "batches.csv"):
            self.assertEqual((of_sweep / name).read_bytes(), (of_train / name).read_bytes(), name)

    def test_runs_share_the_threads(self):
        for number, (given, expected) in enumerate(((["--jobs", 2], 3), (["--jobs", 4], 1), (["--jobs", 9], 1),
                                                    (["--jobs", 2, "--threads", 5], 5))):
            with self.subTest(given=given):
                self.out = self.directory / str(number)
                self.succeed(*self.arguments_for(["s7_final"], 1), "--epochs", 1, *given,
                             environment={"OMP_NUM_THREADS": "6"})
                self.assertIn(f", {expected} CPU thread", (self.out / "s7_final-seed1" / "train.log").read_text())

    def test_interruption(self):
        self.arguments = self.arguments_for(["s7_final", "classic_step2"], "1-2", DATA)
        process = self.start("--epochs", 2)
        self.wait_for(self.out / "results.csv")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 130, stdout + stderr)
        before = self.rows()
        self.assertIn(len(before), (1, 2))
        self.assertEqual(stderr, f"interrupted: {len(before)} of 4 runs are done; the same command does the rest\n")
        output = self.succeed(*self.arguments, "--epochs", 2)
        self.assertIn(f"4 runs, {len(before)} of them done already", output)
        after = self.rows()
        self.assertEqual(len(after), 4)
        self.assertEqual({run: after[run] for run in before}, before)

    def test_one_sweep_at_a_time_and_none_left_behind(self):
        self.arguments = self.arguments_for(["s7_final"], 1)
        process = self.start("--epochs", 1000000)
        self.wait_for(self.out / "s7_final-seed1" / "metrics.csv")
        self.fail_with([self.out, "another process"], *self.arguments, "--epochs", 1)
        process.kill()
        process.wait()
        # Both locks are free as soon as the run has ended too, of which nobody tells it but the system. How many
        # epochs it came to, and so whether it can go on as a run of one, is not known.
        deadline = time.monotonic() + TIMEOUT
        while "another process" in (result := mnist(*self.arguments, "--epochs", 1)).stdout + result.stderr:
            self.assertLess(time.monotonic(), deadline)
        self.assertEqual(list(self.rows()), [("s7_final", "1")])

    def test_a_run_that_fails(self):
        blocked = self.out / "s7_final-seed1" / "model.safetensors"
        blocked.mkdir(parents=True)
        result = self.fail_with(["1 of 4 runs failed", self.out], *self.arguments, "--epochs", 1)
        self.assertIn("[1/4] s7_final seed 1: failed (exit status 1: mnist: "
                      f"{blocked}: cannot be written", result.stdout)
        self.assertIn(",failed,", self.rows()["s7_final", "1"])
        self.assertEqual(sum(",ok," in row for row in self.rows().values()), 3)
        blocked.rmdir()
        self.assertIn("3 of them done already", self.succeed(*self.arguments, "--epochs", 1))

    def test_wrong_arguments(self):
        for arguments, parts in [(["sweep", "s8_final"], ['"s8_final"', "expected one of", "s7_final"]),
                                 (["sweep", "--seeds", "3-1"], ["seeds", "3-1"]),
                                 (["sweep", "--seeds", "one"], ["seeds", "one"])]:
            self.fail_with(parts, *arguments, "--data", FEW, "--out", self.out, code=2)
        for arguments in (["--jobs", 0], ["--epochs", 0], ["--threads", 0]):
            self.fail_with(arguments[:1], *self.arguments, *arguments, code=2)
        self.fail_with([self.directory / "nowhere"], "sweep", "--data", self.directory / "nowhere", "--out", self.out)
        self.assertFalse(self.out.exists())

    def test_damaged_and_other_results(self):
        self.arguments = self.arguments_for(["s7_final"], "1-2")
        self.succeed(*self.arguments, "--epochs", 1)
        results = self.out / "results.csv"
        self.fail_with([results, "s7_final seed 1", "--epochs 1", "--out"], *self.arguments, "--epochs", 2)
        results.write_bytes(results.read_bytes()[:-5])
        self.fail_with([f"{results}, line 3", "ends within the line"], *self.arguments, "--epochs", 1)

    def test_results_that_cannot_be_read_or_written(self):
        results, table = self.out / "results.csv", self.out / "table.md"
        results.mkdir(parents=True)
        self.fail_with([f"{results}: cannot be read: Is a directory"], *self.arguments, "--epochs", 1)
        results.rmdir()
        table.mkdir()
        self.fail_with([f"{table}: cannot be written"], *self.arguments, "--epochs", 1)

    def test_a_run_whose_folder_cannot_be_made(self):
        self.out.mkdir()
        folder = self.out / "s7_final-seed1"
        folder.write_text("in the way")
        result = self.fail_with(["1 of 4 runs failed"], *self.arguments, "--epochs", 1)
        self.assertIn(f"[1/4] s7_final seed 1: failed ({folder}: cannot make the folder", result.stdout)
        self.assertEqual(sum(",ok," in row for row in self.rows().values()), 3)

    def test_validation(self):
        arguments = [*self.arguments_for(["s7_final"], 1), "--epochs", 1]
        output = self.succeed(*arguments, "--validation", 10)
        self.assertIn("\nValidation accuracies in percent", output)
        row = list(csv.DictReader((self.out / "table.csv").read_text().splitlines()))[0]
        self.assertEqual((row["published_last_five_mean"], row["difference"]), ("", ""))
        self.assertIn("14 training images, 10 validation images",
                      (self.out / "s7_final-seed1" / "train.log").read_text())
        self.fail_with(["give another folder"], *arguments)
        self.fail_with(["validation", FEW_TRAIN_IMAGES], *arguments, "--validation", FEW_TRAIN_IMAGES, code=2)


class Options(Test):
    """Options in files: --config, and what a run writes of its own."""

    def config(self, text):
        path = self.directory / "options.ini"
        path.write_text(text)
        return path

    def test_a_file_and_the_command_line_over_it(self):
        file = self.config(f'; a comment\n[train]\nepochs=2\nseed=5\nquiet=true\ndata="{FEW}"\ndevice="cpu"\n')
        for arguments, seed in [(["--config", file, "train"], 5), (["train", "--config", file, "--seed", 6], 6)]:
            out = self.directory / str(seed)
            self.succeed(*arguments, "--out", out)
            self.assertEqual(len(metrics_of(out)), 2)
            self.assertIn(f"\nseed={seed}\n", (out / "options.ini").read_text())

    def test_without_a_section(self):
        file = self.config("epochs=1\nseeds=3\n")
        self.succeed("sweep", "s7_final", "--config", file, "--data", FEW, "--device", "cpu", "--out",
                     self.directory / "sweep")
        self.assertEqual(len(metrics_of(self.directory / "sweep" / "s7_final-seed3")), 1)

    def test_a_runs_own_options_make_it_again(self):
        run, out = self.directory / "run", self.directory / "again"
        self.train("--epochs", 2, "--batch-size", 12, out=run)
        options = run / "options.ini"
        for line in ('model="s7_final"', "epochs=2", "batch-size=12", "lr=0.04", "seed=1", f'data="{FEW}"',
                     'dataset="mnist"', 'device="cpu"'):
            self.assertIn(f"\n{line}\n", options.read_text())
        self.succeed("train", "--config", options, "--quiet", "--out", out)
        for name in ("model.safetensors", "options.ini"):
            self.assertEqual((out / name).read_bytes(), (run / name).read_bytes(), name)

    def test_fewer_images_than_the_recipe_has_in_a_batch(self):
        out = self.directory / "run"
        self.train("--validation", FEW_TRAIN_IMAGES // 2, "--epochs", 1, "--quiet", out=out)
        self.assertIn("nothing is left to do", self.succeed("train", "--resume", out))
        self.succeed("train", "--config", out / "options.ini", "--quiet", "--out", self.directory / "again")

    def test_data_with_any_name(self):
        for name in ("a#b", "c;d", 'e"f', "g'h", "i=j, [k]", "\u00e9"):
            with self.subTest(name=name):
                data, out = self.directory / name, self.directory / f"out {name}"
                shutil.copytree(FEW, data)
                self.succeed("train", "--epochs", 1, "--quiet", "--device", "cpu", "--data", data, "--out", out)
                self.assertIn("nothing is left to do", self.succeed("train", "--resume", out))

    def test_what_is_wrong_is_named(self):
        for text, parts in [("[train]\nepoch=2\n", ["unknown option epoch ", "(did you mean epochs?)"]),
                            ("momentum=0.9\n", ["unknown option momentum "]), ("[train]\nepochs=few\n", ["epochs", "few"]),
                            ("[sweep]\njobs=2\n", ["jobs", "another command"]), ("[train]\nresume=x\n", ["resume"])]:
            with self.subTest(text=text):
                file = self.config(text)
                self.fail_with(parts, "train", "--config", file, "--data", DATA, "--out", self.directory / "out",
                               code=None)
        self.fail_with(["nowhere.ini"], "train", "--config", self.directory / "nowhere.ini", code=None)
        self.fail_with(["a command is missing"], "--config", self.config("epoch=2\n"), code=2)
        self.assertFalse((self.directory / "out").exists())


class Interruption(Test):
    def start(self, data, *arguments):
        command = [MNIST, "train", "--epochs", 1000000, "--batch-size", 24, "--device", "cpu", "--data", data,
                   "--out", self.directory, *arguments]
        return subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)

    def interrupt(self, data, ready, number=signal.SIGINT):
        """Ends a long training with a signal as soon as ready(process) holds; the whole epochs."""
        process = self.start(data)
        deadline = time.monotonic() + TIMEOUT
        while process.poll() is None and not ready(process) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(number)
        try:
            stdout, stderr = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
        result = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
        self.check_clean(result)
        self.assertEqual(result.returncode, 128 + number, stdout + stderr)
        line = re.fullmatch("interrupted (?:before the first epoch was finished|after ([1-9][0-9]*) whole epochs?); "
                            f"`mnist train --resume {self.directory}` goes on\n", stderr)
        self.assertTrue(line, stderr)
        return int(line.group(1) or 0)

    def has_metrics(self, process):
        return (self.directory / "metrics.csv").exists()

    def test_after_some_epochs(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number):
                shutil.rmtree(self.directory)
                whole = self.interrupt(DATA, self.has_metrics, number)
                self.assertGreaterEqual(whole, 1)
                self.assertEqual(len(metrics_of(self.directory)), whole)
                self.assertEqual(names_in(self.directory), FILES)
                self.succeed("eval", self.directory / "model.safetensors", "--data", DATA)

    @unittest.skipUnless(Path("/proc/self/status").exists(), "needs /proc to see when the program is ready")
    def test_in_the_first_epoch(self):
        def handles_sigint(process):
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return False
            caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", status, re.MULTILINE)
            return bool(caught) and int(caught.group(1), 16) >> (signal.SIGINT - 1) & 1

        data = self.directory.with_suffix(".data")
        write_data(data, repeat_train=50)
        whole = self.interrupt(data, handles_sigint)
        if whole > 0:
            self.assertEqual(len(metrics_of(self.directory)), whole)
        self.assertEqual(names_in(self.directory), FILES if whole > 0 else FILES_OF_NO_EPOCH)

    def test_a_terminal_that_is_closed(self):
        terminal, end = os.openpty()

        def take_terminal():
            os.setsid()
            fcntl.ioctl(end, termios.TIOCSCTTY, 0)

        command = [MNIST, "train", "--epochs", 1000000, "--batch-size", 24, "--device", "cpu", "--data", DATA,
                   "--out", self.directory]
        process = subprocess.Popen(list(map(str, command)), stdin=end, stdout=end, stderr=end, env=ENVIRONMENT,
                                   preexec_fn=take_terminal)
        self.addCleanup(process.kill)
        os.close(end)
        deadline = time.monotonic() + TIMEOUT
        while not self.has_metrics(process) and time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.01)[0]:
                os.read(terminal, 4096)
        os.close(terminal)
        self.assertEqual(process.wait(TIMEOUT), 128 + signal.SIGHUP)
        self.assertEqual(names_in(self.directory), FILES)

    def test_nohup(self):
        process = subprocess.Popen(["nohup", MNIST, "train", "--epochs", "3", "--device", "cpu", "--data", str(DATA),
                                    "--out", str(self.directory)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
        deadline = time.monotonic() + TIMEOUT
        while not self.has_metrics(process) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGHUP)
        self.assertEqual(process.wait(TIMEOUT), 0)

    def test_resume_needs_no_other_option(self):
        undisturbed = self.directory.with_suffix(".undisturbed")
        arguments = ["--epochs", 3, "--batch-size", 24, "--seed", 3]
        self.train(*arguments, data=DATA, out=undisturbed)
        process = subprocess.Popen([MNIST, "train", "--device", "cpu", "--data", str(DATA), "--out",
                                    str(self.directory), *map(str, arguments)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
        deadline = time.monotonic() + TIMEOUT
        while not self.has_metrics(process) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.kill()
        process.wait()
        output = self.succeed("train", "--resume", self.directory, "--quiet", cwd=ROOT / "data set")
        self.assertTrue(output.endswith((undisturbed / "train.log").read_text().splitlines()[-1] + "\n"), output)
        self.assertEqual(names_in(self.directory), FILES)
        for name in FILES:
            if name not in ("metrics.csv", "train.log", "state.safetensors"):
                self.assertEqual((self.directory / name).read_bytes(), (undisturbed / name).read_bytes(), name)
        self.fail_with(["learning rate is 0.04, given 0.5"], "train", "--resume", self.directory, "--lr", 0.5)
        self.fail_with(["excludes", "--resume"], "train", "--resume", self.directory, "--out", "x", code=None)
        self.fail_with([f"{ROOT}: has no state.safetensors"], "train", "--resume", ROOT)

    def test_one_run_in_a_folder(self):
        process = self.start(DATA)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + TIMEOUT
        while not self.has_metrics(process) and time.monotonic() < deadline:
            time.sleep(0.002)
        for way in (["--out"], ["--overwrite", "--out"], ["--resume"]):
            self.fail_with([f"{self.directory}: another process is at work"], "train", "--data", DATA, *way,
                           self.directory)
        self.assertIsNone(process.poll())
        process.kill()
        process.wait()
        # A crash has let go of it.
        self.fail_with(["goes on with it"], "train", "--data", DATA, "--out", self.directory)


class Unwritable(Test):
    def test_standard_output(self):
        for command in (["list"], ["--help"], ["eval", RUN / "model.safetensors", "--data", FEW],
                        ["train", "--epochs", 1, "--data", FEW, "--out", "run"]):
            with self.subTest(command=command), open("/dev/full", "w") as full:
                result = subprocess.run([MNIST, *map(str, command)], stdin=subprocess.DEVNULL, stdout=full,
                                        stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, env=ENVIRONMENT,
                                        cwd=self.directory)
                self.assertEqual(result.returncode, 1)
                self.assertIn("standard output cannot be written", result.stderr)

    def check_left_behind(self, out):
        """Whole files under their own names or nothing: those that have a name end as they should."""
        self.assertLessEqual(set(names_in(out)), set(FILES))
        if (out / "metrics.csv").exists():
            metrics_of(out)
        for path in out.glob("*.png"):
            self.assertEqual(path.read_bytes()[-8:-4], b"IEND")

    def train_into(self, out, parts, **options):
        self.fail_with(parts, "train", "--epochs", 1, "--device", "cpu", "--data", FEW, "--out", out, **options)

    def test_closed_standard_output(self):
        for command in (["list"], ["--help"], ["eval", RUN / "model.safetensors", "--data", FEW, "--out", "out"],
                        ["train", "--epochs", 1, "--data", FEW, "--out", "run"]):
            with self.subTest(command=command):
                result = subprocess.run(["sh", "-c", 'exec "$0" "$@" <&- >&-', MNIST, *map(str, command)],
                                        stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, env=ENVIRONMENT,
                                        cwd=self.directory)
                self.check_clean(subprocess.CompletedProcess(command, result.returncode, "", result.stderr))
                self.assertEqual(result.returncode, 1)
                self.assertEqual(result.stderr, "mnist: standard output cannot be written\n")

    def test_closed_standard_error(self):
        """What is printed or written goes nowhere else, and the exit code stays."""
        for command, code in (["list"], 0), (["fit"], 2), (["eval", "nowhere"], 1), (["train", "--model", "x"], 2):
            with self.subTest(command=command):
                result = subprocess.run(["sh", "-c", 'exec "$0" "$@" <&- 2>&-', MNIST, *command],
                                        stdout=subprocess.PIPE, text=True, timeout=TIMEOUT, env=ENVIRONMENT)
                self.assertEqual(result.returncode, code)
        out = self.directory / "run"
        result = subprocess.run(["sh", "-c", 'exec "$0" "$@" <&- 2>&-', MNIST, "train", "--quiet", "--epochs", "1",
                                 "--device", "cpu", "--data", str(FEW), "--out", str(out)],
                                stdout=subprocess.PIPE, text=True, timeout=TIMEOUT, env=ENVIRONMENT)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(names_in(out), FILES)
        self.succeed("eval", out / "model.safetensors", "--data", DATA)

    def test_no_font(self):
        """Said before anything is trained, by whatever draws figures."""
        fonts = self.directory / "fonts.conf"
        fonts.write_text('<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig></fontconfig>')
        # Without a font fontconfig locks its own two mutexes in either order.
        environment = {"FONTCONFIG_FILE": str(fonts), "TSAN_OPTIONS": "detect_deadlocks=0"}
        for command in (["train", "--epochs", 1], ["sweep"], ["eval", RUN / "model.safetensors"]):
            with self.subTest(command=command):
                self.fail_with(["no font", "fonts-dejavu-core"], *command, "--data", DATA, "--out",
                               self.directory / "out", environment=environment)
        self.assertEqual(names_in(self.directory), ["fonts.conf"])
        self.succeed("eval", RUN / "model.safetensors", "--data", DATA, environment=environment)

    def test_no_folder(self):
        file = self.directory / "file"
        file.write_text("text")
        self.train_into(file, [file])
        self.train_into(file / "below", [file / "below"])
        self.assertEqual(file.read_text(), "text")
        self.fail_with([file / "below"], "eval", RUN / "model.safetensors", "--data", DATA, "--out", file / "below")

    def test_files_that_cannot_grow(self):
        """A limit on the size of files ends a write in the middle, as a full disk does."""
        for limit, file in [(20, "state.safetensors"), (5000, "state.safetensors")]:
            def limit_size():
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

            with self.subTest(limit=limit):
                out = self.directory / str(limit)
                self.train_into(out, [out / file, "cannot be written"], preexec_fn=limit_size)
                self.check_left_behind(out)
                self.assertEqual(names_in(out), [] if limit == 20 else FILES_OF_NO_EPOCH)
                self.train("--epochs", 1, "--quiet", out=out)

    def test_full_disk(self):
        mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(self.directory)]
        try:
            mounted = subprocess.run(mount, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except OSError as error:
            self.skipTest(f"no tmpfs can be mounted here: {error}")
        if mounted.returncode != 0:
            self.skipTest(f"no tmpfs can be mounted here: {mounted.stdout.strip()}")
        self.addCleanup(subprocess.run, ["umount", str(self.directory)], check=True)
        self.train_into(self.directory, [self.directory / "state.safetensors", "No space left"])
        self.check_left_behind(self.directory)


class Checkpoints(Test):
    def changed(self, change):
        path = self.directory / "changed.safetensors"
        path.write_bytes(change((RUN / "model.safetensors").read_bytes()))
        return path

    def refuse(self, path, parts):
        image = self.directory / "digit.png"
        image.write_bytes(png(TEST_SET[0], 28, 28))
        self.fail_with([path, *parts], "eval", path, "--data", DATA, "--device", "cpu")
        self.fail_with([path, *parts], "predict", path, image, "--device", "cpu")

    def test_missing(self):
        self.refuse(self.directory / "nowhere.safetensors", ["No such file"])
        self.refuse(self.directory, [])

    def test_truncated(self):
        for keep in (0, 7, 8, 100, 5000, -1):
            with self.subTest(keep=keep):
                self.refuse(self.changed(lambda data: data[:keep]), ["not a checkpoint"])

    def test_no_checkpoint(self):
        self.refuse(DATA / "train-images-idx3-ubyte", ["not a checkpoint"])

    def with_header(self, change):
        def changed(data):
            length, = struct.unpack("<Q", data[:8])
            header = json.dumps(change(json.loads(data[8:8 + length]))).encode()
            return struct.pack("<Q", len(header)) + header + data[8 + length:]

        return self.changed(changed)

    def weights(self, dtype=None, code="", prefix="", more=None, without=()):
        """The run's checkpoint as another program might write it."""
        def changed(data):
            length, = struct.unpack("<Q", data[:8])
            header, data = json.loads(data[8:8 + length]), data[8 + length:]
            result, elements = {"__metadata__": header.pop("__metadata__")}, b""
            for name, tensor in {**header, **(more or {})}.items():
                begin, end = tensor["data_offsets"]
                piece, kind = data[begin:end], tensor["dtype"]
                if dtype and kind == "F32":
                    piece = struct.pack(f"<{len(piece) // 4}{code}", *struct.unpack(f"<{len(piece) // 4}f", piece))
                    kind = dtype
                if name not in without:
                    result[prefix + name] = {**tensor, "dtype": kind,
                                             "data_offsets": [len(elements), len(elements) + len(piece)]}
                    elements += piece
            text = json.dumps(result).encode()
            return struct.pack("<Q", len(text)) + text + elements

        return self.changed(changed)

    def evaluate(self, path, *options):
        """What eval says of the weights, and of the network's results with them."""
        lines = self.succeed("eval", path, "--data", DATA, "--device", "cpu", *options).splitlines()[1:]
        return [line for line in lines if line.startswith(str(path))], [l for l in lines if not l.startswith(str(path))]

    def test_weights_of_other_programs(self):
        _, expected = self.evaluate(RUN / "model.safetensors")
        self.assertEqual(self.evaluate(self.weights("F64", "d")), ([], expected))
        said, results = self.evaluate(self.weights("F16", "e"))
        self.assertEqual((said, results[0].split(",")[0]), ([], results[0].split(",")[0]))
        said, results = self.evaluate(self.weights(prefix="module."))
        self.assertEqual(results, expected)
        self.assertEqual(len(said), 1)
        self.assertIn('"module."', said[0])
        mask = {"mask": {"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]},
                "scale": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}
        said, results = self.evaluate(self.weights(more=mask))
        self.assertEqual(results, expected)
        self.assertEqual([name in line for name, line in zip(mask, said)], [True, True])
        self.refuse(self.weights(without=("7.weight", "0.0.weight"), more=mask),
                    ['"7.weight" is missing', '"0.0.weight" is missing', 'no "mask"', 'no "scale"'])
        wrong = {**mask, "7.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
        self.refuse(self.weights(without=("0.0.weight",), more=wrong),
                    ['"7.weight" is float32 [2]', '"0.0.weight" is missing', 'no "mask"', 'no "scale"'])

    def test_model_of_a_checkpoint_that_does_not_say_it(self):
        silent = self.with_header(lambda header: {k: v for k, v in header.items() if k != "__metadata__"})
        self.refuse(silent, ["names no model", "--model"])
        _, expected = self.evaluate(RUN / "model.safetensors", "--model", "s7_final")
        self.assertEqual(self.evaluate(silent, "--model", "s7_final"), ([], expected))
        self.fail_with([RUN, "s7_final", "s7_model1"], "eval", RUN / "model.safetensors", "--data", DATA,
                       "--model", "s7_model1")

    def test_escape_sequences_stay_in_the_file(self):
        evil = "\x1b]0;title\x07\x9b31m"
        for path in (self.with_header(lambda header: {**header, "__metadata__": {"model": evil}}),
                     self.weights(prefix=evil + "."), self.weights(without=("7.weight",), more={
                         evil: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}})):
            result = mnist("eval", path, "--data", DATA, "--device", "cpu")
            self.check_clean(result)
            for character in evil[:1] + evil[-4:-3] + "\x07":
                self.assertNotIn(character, result.stdout + result.stderr)
            self.assertIn("title", result.stdout + result.stderr)
        result = mnist("eval", self.directory / "no\x1b[31msuch", "--data", DATA)
        self.assertNotIn("\x1b", result.stderr)
        self.assertIn("No such file", result.stderr)

    def test_wrong_model(self):
        def metadata(**changes):
            return lambda header: {**header, "__metadata__": changes}

        self.refuse(self.with_header(metadata()), ["names no model"])
        self.refuse(self.with_header(metadata(model="s8_final")), ["s8_final", "expected one of", "s7_final"])
        renamed = self.with_header(lambda header: {name.replace("7.weight", "8.weight"): tensor
                                                   for name, tensor in header.items()})
        self.refuse(renamed, ["s7_final", "7.weight"])
        transposed = self.with_header(lambda header: {**header, "7.weight": {**header["7.weight"],
                                                                             "shape": [16, 10, 1, 1]}})
        self.refuse(transposed, ["s7_final", "7.weight", "[10, 16, 1, 1]"])


class Description(Test):
    """What a checkpoint says about itself counts."""

    def setUp(self):
        super().setUp()
        self.picture = self.directory / "digit.png"
        self.picture.write_bytes(png(TEST_SET[0], 28, 28))

    def described(self, **metadata):
        data = (RUN / "model.safetensors").read_bytes()
        length, = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + length])
        header["__metadata__"].update(metadata)
        text = json.dumps(header).encode()
        path = self.directory / f"described-{len(names_in(self.directory))}.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length:])
        return path

    def both_fail(self, path, parts, *arguments):
        self.fail_with([path, *parts], "eval", path, "--data", DATA, "--device", "cpu", *arguments)
        self.fail_with([path, *parts], "predict", path, self.picture, "--device", "cpu", *arguments)

    def test_data_set(self):
        fashion = self.described(dataset="fashion-mnist", class_names=",".join(
            ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]))
        self.assertIn("Accuracy of T-shirt/top : ", self.succeed("eval", fashion, "--data", DATA))
        digit = self.succeed("predict", RUN / "model.safetensors", self.picture)
        self.assertIn("digit.png: 0 (", digit)
        self.assertEqual(self.succeed("predict", fashion, self.picture), digit.replace(": 0 (", ": T-shirt/top ("))
        self.both_fail(fashion, ["was trained on fashion-mnist, --dataset says mnist"], "--dataset", "mnist")
        self.both_fail(RUN / "model.safetensors", ["was trained on mnist, --dataset says fashion-mnist"], "--dataset",
                       "fashion-mnist")
        self.both_fail(self.described(dataset="cifar"), ["was trained on cifar"])
        self.fail_with(["data/fashion-mnist"], "eval", fashion, cwd=self.directory)

    def test_class_names(self):
        named = self.described(class_names="null,one,two,three,four,five,six,seven,eight,nine")
        self.assertIn("digit.png: null (", self.succeed("predict", named, self.picture))
        self.fail_with(["its classes are not those of mnist"], "eval", named, "--data", DATA)

    def test_normalisation(self):
        output = [self.succeed("eval", path, "--data", DATA).splitlines()[1]
                  for path in (RUN / "model.safetensors", self.described(pixel_mean="0.1307", pixel_std="0.3081"),
                               self.described(pixel_mean="0.5"), self.described(pixel_std="2"))]
        self.assertEqual(output[0], output[1])
        self.assertEqual(len(set(output)), 3)
        answers = {self.succeed("predict", path, self.picture)
                   for path in (RUN / "model.safetensors", self.described(pixel_std="0.5"))}
        self.assertEqual(len(answers), 2)

    def test_picture_size(self):
        self.both_fail(self.described(image_size="1x32x32"), ["is for pictures of 32x32, and these are 28x28"])
        self.both_fail(self.described(image_size="3x28x28"), ["image_size", "3x28x28"])

    def test_other_test_images(self):
        self.assertIn("note: these are other test images than", self.succeed(
            "eval", self.described(tested_on="test 50 00000000"), "--data", DATA))
        self.assertNotIn("note", self.succeed("eval", RUN / "best.safetensors", "--data", DATA))
        self.assertNotIn("note", self.succeed("eval", self.described(tested_on="validation 50 00000000"),
                                              "--data", DATA))

    def test_weights_that_are_no_numbers(self):
        data = (RUN / "model.safetensors").read_bytes()
        for value in (float("nan"), float("inf")):
            path = self.directory / "nan.safetensors"
            path.write_bytes(data[:-4] + struct.pack("<f", value))
            self.both_fail(path, ["NaN or infinite"])

    def test_outputs_that_are_no_numbers(self):
        path = self.directory / "large.safetensors"
        data = (RUN / "model.safetensors").read_bytes()
        length, = struct.unpack("<Q", data[:8])
        header = json.loads(data[8:8 + length])
        changed = bytearray(data)
        begin, end = (8 + length + offset for offset in header["0.0.weight"]["data_offsets"])
        changed[begin:end] = struct.pack("<f", 3e38) * ((end - begin) // 4)
        path.write_bytes(changed)
        self.both_fail(path, ["gives no probabilities"])

    def test_figures_of_another(self):
        out = self.directory / "figures"
        arguments = ["eval", RUN / "model.safetensors", "--data", DATA, "--out"]
        self.succeed(*arguments, out)
        self.fail_with([out, "already", "--overwrite"], *arguments, out)
        self.succeed(*arguments, out, "--overwrite")
        for more in ([], ["--overwrite"]):
            self.fail_with([RUN, "training run"], *arguments, RUN, *more)


class Use(Test):
    def test_eval_gives_the_last_epochs_result(self):
        output = self.succeed("eval", RUN / "model.safetensors", "--data", DATA, "--device", "cpu")
        last_epoch = [line for line in TRAINING.stdout.splitlines() if line.startswith("Test set")][-1]
        lines = output.splitlines()
        self.assertEqual(lines[1], last_epoch)
        self.assertEqual(lines[3:], [line for line in TRAINING.stdout.splitlines() if line.startswith("Accuracy of")])

    def test_eval_says_how_fast_it_was_on_demand(self):
        arguments = ["eval", RUN / "model.safetensors", "--data", DATA, "--device", "cpu"]
        plain, timed = self.succeed(*arguments), self.succeed(*arguments, "--time")
        self.assertEqual(timed[:len(plain)], plain)
        images, seconds, rate = map(float, re.fullmatch(
            r"\n(\d+) images in (\d+\.\d{3}) s, (\d+) a second\n", timed[len(plain):]).groups())
        self.assertAlmostEqual(images / rate, seconds, delta=0.001)

    def test_eval_draws_figures_on_demand(self):
        out = self.directory / "made" / "figures"
        self.succeed("eval", RUN / "model.safetensors", "--data", DATA, "--device", "cpu", "--out", out)
        self.assertEqual(names_in(out), TEST_FILES)
        for name in names_in(out):
            self.assertEqual((out / name).read_bytes(), (RUN / name).read_bytes())

    def predict(self, pictures):
        """The digits and percentages that the program answers for each picture, in order."""
        files = []
        for i, picture in enumerate(pictures):
            files.append(self.directory / f"{i}.png")
            files[-1].write_bytes(picture)
        output = self.succeed("predict", RUN / "model.safetensors", *files, "--device", "cpu")
        answers = [re.fullmatch(r"(.*): (\d) \((\d+\.\d\d) %\)", line) for line in output.splitlines()]
        self.assertEqual([answer.group(1) for answer in answers], list(map(str, files)))
        return [(int(answer.group(2)), float(answer.group(3))) for answer in answers]

    def test_predict_agrees_with_eval(self):
        predictions = self.predict([png(image, 28, 28) for image in TEST_SET])
        correct = sum(digit == i % 10 for i, (digit, _) in enumerate(predictions))
        last = metrics_of(RUN)[-1]
        self.assertEqual(correct, round(float(last["test_accuracy"]) * TEST_IMAGES / 100))
        self.assertGreater(correct, TEST_IMAGES // 2)
        for _, percentage in predictions:
            self.assertTrue(10 <= percentage <= 100)

    def test_predict_takes_dark_on_light(self):
        dark_on_light = [png(bytes(255 - pixel for pixel in image), 28, 28) for image in TEST_SET[:10]]
        self.assertEqual(self.predict(dark_on_light), self.predict([png(image, 28, 28) for image in TEST_SET[:10]]))

    def picture(self, name, pixels, width=28, height=28):
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(pixels, width, height))
        return path

    def test_predict_names_a_bad_picture_and_goes_on(self):
        good = self.picture("good.png", TEST_SET[0])
        bad = self.directory / "bad.png"
        for content, why in ((b"", "empty"), (b"no picture", "text"), (good.read_bytes()[:60], "truncated"),
                             (b"GIF89a", "GIF"), (b"\xff\xd8\xff\xe0", "JPEG")):
            bad.write_bytes(content)
            result = self.fail_with([f"mnist: {bad}: ", why], "predict", RUN / "model.safetensors", bad,
                                    self.directory / "nowhere.png", self.directory, good, "--device", "cpu")
            self.assertRegex(result.stdout, rf"^{good}: \d \(.* %\)\n$")
            self.assertIn(f"mnist: {self.directory / 'nowhere.png'}: no such file\n", result.stderr)
            self.assertIn(f"mnist: {self.directory}: is a folder", result.stderr)

    def test_predict_says_when_there_is_no_digit(self):
        blank = self.picture("blank.png", bytes([255]) * 10000, 100, 100)
        noise = self.picture("noise.png", random.Random(1).randbytes(10000), 100, 100)
        good = self.picture("good.png", TEST_SET[0])
        lines = self.succeed("predict", RUN / "model.safetensors", blank, noise, good, "--device", "cpu").splitlines()
        self.assertEqual(lines[0], f"{blank}: no digit: nothing stands out from the ground")
        self.assertIn(f"{noise}: no digit: ", lines[1])
        self.assertRegex(lines[2], rf"^{good}: \d \(")

    def test_predict_saves_what_the_network_saw(self):
        command = ["predict", RUN / "model.safetensors", "--device", "cpu"]
        paper = bytes(200 - pixel // 2 for pixel in TEST_SET[3])
        page = self.picture("page.jpg", b"".join(paper[y * 28:y * 28 + 28] * 1 + bytes([200]) * 72 for y in range(28))
                            + bytes([200]) * 7200, 100, 100)
        stored = self.picture("stored.png", TEST_SET[4])
        saved = self.directory / "made" / "saved"
        answers = self.succeed(*command, page, stored, "--save-input", saved).splitlines()
        self.assertEqual(names_in(saved), ["page.png", "stored.png"])
        again = self.succeed(*command, saved / "page.png", saved / "stored.png").splitlines()
        self.assertEqual([line.split(": ")[1] for line in again], [line.split(": ")[1] for line in answers])

        one = self.directory / "one.png"
        self.succeed(*command, page, "--save-input", one)
        self.assertEqual(one.read_bytes(), (saved / "page.png").read_bytes())
        self.fail_with(["--save-input", "overwritten"], *command, page, stored, "--save-input", one, code=2)
        self.fail_with(["--save-input", "overwritten"], *command, one, "--save-input", one, code=2)
        other = self.picture("other/page.png", TEST_SET[4])
        self.fail_with(["--save-input", "overwritten"], *command, page, other, "--save-input", saved, code=2)
        self.assertEqual(one.read_bytes(), (saved / "page.png").read_bytes())
        self.fail_with([saved / "page.png", "folder"], *command, page, "--save-input", saved / "page.png" / "page.png")


unittest.main(argv=sys.argv[:1] + sys.argv[2:])
