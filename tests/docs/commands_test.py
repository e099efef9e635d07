#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the commands in README.md and docs/: each program, option, preset, model and path that they name is there.

Usage: commands_test.py MNIST
Exit status: 0 if all tests pass. A block after `<!-- run -->` runs as written, in a folder with a small data set; one
after `<!-- run: --epochs 1 -->` with these options at the end of each line. Other commands are not run, only checked.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/examples/mnist"))
import digits  # noqa: E402

MNIST = os.path.abspath(sys.argv.pop())
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = re.compile(r"(scripts|bench|tests|build)/[\w./-]+$|cmake$|ctest$|python3$|mnist$|kernelgrad_bench$|git$")


def output_of(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=50)
    return done.stdout


def commands_of(page):
    """(line number, words) of each command in the page's indented blocks and in its text between backquotes."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        if fenced:
            continue
        pieces = re.split(r" && |; do ", line) if line.startswith("    ") else re.findall(r"`([^`]+)`", line)
        for piece in pieces:
            try:
                words = shlex.split(piece, comments=True)
            except ValueError:
                continue
            # Two words at least: one between backquotes may be the name of a file. So may be one before a text.
            if len(words) > 1 and PROGRAM.match(words[0]) and not piece.strip().startswith("tests/  bench/"):
                yield number, words
            elif len(words) == 1 and re.match(r"(scripts|bench)/\w+$", words[0]):
                yield number, words


class Commands(unittest.TestCase):
    presets = {preset["name"] for preset in json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]}
    models = set(re.findall(r"^\s*(\w+)", output_of(MNIST, "list"), re.MULTILINE))

    def each(self, check):
        for page in PAGES:
            for number, words in commands_of(page):
                with self.subTest(page=str(page.relative_to(ROOT)), line=number, command=" ".join(words)):
                    check(words)

    def test_finds_commands(self):
        self.assertGreater(sum(1 for page in PAGES for _ in commands_of(page)), 30)

    def test_files_are_there(self):
        def check(words):
            for word in words:
                if re.match(r"(scripts|bench|tests|examples)/", word):
                    self.assertTrue((ROOT / word).exists(), f"no {word}")

        self.each(check)

    def test_presets_are_there(self):
        def check(words):
            named = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "--preset"]
            named += [word.split("/")[1] for word in words if re.match(r"build/\w+", word)]
            for preset in named:
                if preset != "NAME":
                    self.assertIn(preset, self.presets)

        self.each(check)

    def test_built_programs_have_a_target(self):
        lists = "\n".join(path.read_text() for folder in ("examples", "bench", "tests", "cmake")
                          for path in (ROOT / folder).rglob("CMakeLists.txt"))

        def check(words):
            for word in words:
                if word.startswith("build/") and word.count("/") > 2:
                    name = Path(word).name
                    name = re.sub(r"^lib|\.so$", "", name)
                    self.assertRegex(lists, rf"\b{name}\b")

        self.each(check)

    def test_options_and_models_are_there(self):
        helps = {}

        def check(words):
            program = Path(words[0]).name
            if program == "mnist" and words[0].startswith("scripts"):
                arguments = ["train", *words[1:]]
                own = {"--preset", "--dataset", "--data", "--help"}
            elif program == "mnist":
                arguments, own = words[1:], {"--help"}
            else:
                return
            command = arguments[0]
            if command.startswith("-"):
                return
            if command not in helps:
                helps[command] = output_of(MNIST, command, "--help")
            for i, word in enumerate(arguments):
                option = word.split("=")[0]
                if option.startswith("--") and option not in own:
                    self.assertRegex(helps[command], rf"(?<![\w-]){option}(?![\w-])")
                if word == "--model" and arguments[i + 1] not in ("NAME", "ID"):
                    self.assertIn(arguments[i + 1], self.models)

        self.each(check)


def marked_blocks(page):
    """(options to put at the end, lines) of each block that is to be run."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    for options, block in re.findall(r"<!-- run(?:: (.*?))? -->\n\n((?:    .*\n)+)", text):
        yield options, [line.strip() for line in block.splitlines()]


class Blocks(unittest.TestCase):
    def test_marked_blocks_run(self):
        count = 0
        for page in PAGES:
            with tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                (folder / "data").mkdir()
                digits.write_data(folder / "data/mnist", 200, 50)
                program = folder / "build/release/examples/mnist/mnist"
                program.parent.mkdir(parents=True)
                program.symlink_to(MNIST)
                for options, lines in marked_blocks(page):
                    for line in lines:
                        with self.subTest(page=page.name, command=line):
                            count += 1
                            done = subprocess.run(["bash", "-c", f"{line} {options}"], cwd=folder, stdin=subprocess.DEVNULL,
                                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
                            self.assertEqual(done.returncode, 0, done.stdout)
        self.assertGreaterEqual(count, 5)


class Quickstart(unittest.TestCase):
    def test_code_of_the_readme_is_the_quickstarts(self):
        readme = (ROOT / "README.md").read_text()
        source = (ROOT / "examples/quickstart/main.cpp").read_text()
        blocks = re.findall(r"```cpp\n(.*?)```", readme, re.DOTALL)
        self.assertEqual(len(blocks), 1)
        for part in blocks[0].split("\n\n"):
            self.assertIn(part.strip(), source)


if __name__ == "__main__":
    unittest.main()
