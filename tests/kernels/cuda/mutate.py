# SPDX-License-Identifier: MIT
"""Proves that the barriers and the bounds of the kernels matter: breaks one at a time, and some test must fail.

Usage: mutate.py barriers|bounds [--build DIR]... [--only FILE[:LINE]]... [--list] [--jobs N] [--report FILE]

  barriers   deletes each __syncthreads() and __syncwarp(...)
  bounds     turns each < of a bounds guard into <=

A mutant is one such change. Each is compiled in a copy of the sources, linked into the tests of a build directory in
place of the object it comes from, and run on the tests that execute the kernels concerned, until one fails. The build
directories must have been built; with several, a mutant that survives the first one's tests meets the next one's.
docs/testing-kernels.md says which to use, and what to do about a survivor.

Exit status: 0 if every mutant was killed, 1 if one survived or could not be judged, 2 for wrong use.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.dont_write_bytecode = True
from device_code import FOLDERS, ROOT, SourceError, sources  # noqa: E402

# The programs of emulated tests that a build directory may have.
TARGETS = ["test_kernelgrad", "test_mnist", "test_training"]
# What a mutant's tests may take: at first those that together take this long without the change, then the rest.
FIRST_TESTS_SECONDS = 3
# A mutant's tests may take this many times as long as without the change, plus so many seconds, before it hangs.
HANG_FACTOR, HANG_SECONDS = 10, 20
# Which words in the output of failing tests tell what went wrong, the more telling ones first.
SIGNS = [("race", r"ThreadSanitizer: data race"),
         ("memory error", r"AddressSanitizer|emulator: .*(written|behind the end|freed|shared memory|not allocated)"),
         ("divergence", r"emulator: .*(diverge|__sh|__sync|__ballot|__any|__all)"), ("emulator", r"emulator: "),
         ("undefined behaviour", r"runtime error: "), ("memory error", r"SIGSEGV|SIGBUS|: SEGV"),
         ("wrong result", r"FAILED")]


class UsageError(Exception):
    """The command line, or what it names, cannot be used."""


# ---------------------------------------------------------------------------------------------------- the mutants

@dataclass
class Mutant:
    file: str
    line: int
    column: int
    begin: int  # the text from begin to end is replaced
    end: int
    replacement: str
    function: str  # name of the kernel or device function that it is in
    source_line: str
    status: str = ""  # killed, survived, does not compile, not judged
    how: str = ""
    seconds: float = 0
    output: str = field(default="", repr=False)

    @property
    def place(self):
        return f"{self.file}:{self.line}:{self.column}"

    def apply(self, text):
        return text[:self.begin] + self.replacement + text[self.end:]


def make_mutant(source, begin, end, replacement):
    function = next(f for f in source.functions
                    if source.tokens[f.body.start].begin <= begin < source.tokens[f.body.stop - 1].end)
    line = source.line(begin)
    return Mutant(source.name, line, source.column(begin), begin, end, replacement, function.name,
                  source.text.split("\n")[line - 1].strip())


def barriers(source):
    """Each barrier statement replaced by an empty one: it can be all there is to an if."""
    found, tokens = [], source.tokens
    device = set(source.device_tokens())
    for directive in source.directives:
        if re.search(r"__sync(threads|warp)", directive):
            raise SourceError(f"{source.name}: a barrier in a macro cannot be deleted on its own")
    for i, token in enumerate(tokens):
        if not re.fullmatch(r"__sync(threads|warp)\w*", token.text):
            continue
        if i not in device:
            raise source.error(token.begin, f"{token.text} outside of device code")
        end = source.partner[i + 1] + 1
        if tokens[i - 1].text not in (";", "{", "}", ")", "else", ":") or tokens[end].text != ";":
            raise source.error(token.begin, f"{token.text}() is not a statement of its own")
        found.append(make_mutant(source, token.begin, tokens[end].end, ";"))
    return found


def comparisons(source):
    """Tokens of device code that are a `<` evaluated at run time: not those that open template arguments, not those
    of `if constexpr`, static_assert and constexpr variables."""
    found, tokens, skip_to = [], source.tokens, -1
    for i in source.device_tokens():
        token, before = tokens[i], tokens[i - 1]
        if i < skip_to:
            continue
        if token.text == "constexpr":
            skip_to = source.partner[i + 1] if before.text == "if" else end_of_statement(source, i)
        elif token.text == "static_assert":
            skip_to = source.partner[i + 1]
        elif token.text == "<" and before.text != "operator":
            around = source.code[token.begin - 1] + source.code[token.end]
            if around[1] in "<=" or around[0] == "<":
                continue
            if around.isspace():
                found.append(token)
            elif not (re.match(r"[\w\]]", around[0]) and closes(source, i)):
                raise source.error(token.begin, "cannot tell whether this '<' compares: has clang-format run?")
    return found


def end_of_statement(source, i):
    while source.tokens[i].text != ";":
        i = source.partner[i] + 1 if source.tokens[i].text in "([{" else i + 1
    return i


def closes(source, i):
    """True if the `<` that is token i is matched by a `>` in the same expression."""
    depth = 0
    while i < len(source.tokens):
        text = source.tokens[i].text
        if text in "([{":
            i = source.partner[i]
        elif text in ")]};":
            return False
        depth += (text == "<") - (text == ">")
        if depth == 0:
            return True
        i += 1
    return False


def bounds(source):
    return [make_mutant(source, token.begin, token.end, "<=") for token in comparisons(source)]


MODES = {"barriers": barriers, "bounds": bounds}


# ------------------------------------------------------------------------------------------------------- building

@dataclass
class Command:
    """A compiler's command line, to be run in the build directory."""
    words: list
    source: str
    object: str


class Build:
    """A build directory: how it compiles the device code and links the tests."""

    def __init__(self, directory):
        self.directory = Path(directory).resolve()
        if not (self.directory / "build.ninja").exists():
            raise UsageError(f"{directory}: no build.ninja: not a build directory of CMake's with Ninja")
        known = self._ninja("-t", "targets", "all")
        self.targets = [t for t in TARGETS if re.search(rf"^{t}: phony", known, re.MULTILINE)]
        if not self.targets:
            raise UsageError(f"{directory}: none of the targets {', '.join(TARGETS)}")
        pending = subprocess.run(["ninja", "-C", self.directory, "-n", *self.targets], capture_output=True, text=True)
        if "no work to do" not in pending.stdout:
            raise UsageError(f"{directory} is not up to date: cmake --build {directory} --target "
                             f"{' '.join(self.targets)}")
        self.links = {target: self._link_command(target) for target in self.targets}
        self.compiles = {command.source: command for target in self.targets
                         for command in self._compile_commands(target)}
        self.users = self._users()

    def __str__(self):
        return os.path.relpath(self.directory)

    def _ninja(self, *arguments):
        return subprocess.run(["ninja", "-C", self.directory, *arguments], check=True, stdout=subprocess.PIPE,
                              text=True).stdout

    def _link_command(self, target):
        """Its words without the output's name, which is the program's."""
        line = self._ninja("-t", "commands", target).strip().split("\n")[-1]
        part = next((p for p in line.split(" && ") if " -o " in p), None)
        if part is None:
            raise UsageError(f"{self.directory}: cannot find the link command of {target} in: {line}")
        words = shlex.split(part)
        output = words.index("-o")
        return words[:output] + words[output + 2:], self.directory / words[output + 1]

    def program(self, target):
        return self.links[target][1]

    def _compile_commands(self, target):
        """Those by which the C++ compiler compiles device code."""
        for line in self._ninja("-t", "commands", target).split("\n"):
            if ".cu" not in line or " -c " not in line:
                continue
            words = shlex.split(line)
            source = words[words.index("-c") + 1]
            if Path(words[0]).name == "nvcc" or not source.endswith(".cu") or not Path(source).is_relative_to(ROOT):
                continue
            output = words[words.index("-o") + 1]
            kept, skip = [], 0
            for word in words:
                if skip:
                    skip -= 1
                elif word in ("-o", "-MT", "-MF", "-MQ", "-c"):
                    skip = 1
                elif word not in ("-MD", "-MMD"):
                    kept.append(word)
            # Optimised enough to be fast to run, not more than that, to be fast to compile. A mutant may well have
            # unused variables.
            yield Command(kept + ["-O1", "-g0", "-w"], os.path.relpath(source, ROOT), output)

    def _users(self):
        """The .cu files that each file of the repository is compiled into: {file: [.cu file]}."""
        users, current = {}, None
        by_object = {command.object: command.source for command in self.compiles.values()}
        for line in self._ninja("-t", "deps").split("\n"):
            if line[:1].strip():
                current = by_object.get(line.split(":")[0])
            elif current and line.strip():
                path = Path(os.path.normpath(self.directory / line.strip()))
                if path.is_relative_to(ROOT):
                    users.setdefault(os.path.relpath(path, ROOT), []).append(current)
        return users

    def compile(self, command, tree, output, extra=()):
        """Compiles the copy of the command's source in the tree."""
        words = [tree.redirect(word, self.directory) for word in command.words]
        source = tree.root / command.source
        return subprocess.run([*words, *extra, "-o", output, "-c", source], cwd=self.directory, capture_output=True,
                              text=True, errors="replace")

    def link(self, target, command, changed_object, output):
        """Links the program with the object in place of the command's."""
        words, _ = self.links[target]
        words = [word for word in words if word != command.object]
        # First of all objects, so that the linker takes its instantiations of the headers' templates, and before the
        # archives, so that no member of the same content is fetched from them.
        first = next(i for i, word in enumerate(words) if word.endswith((".o", ".a")))
        words[first:first] = [str(changed_object)]
        return subprocess.run([*words, "-Wl,--strip-debug", "-o", output], cwd=self.directory, capture_output=True,
                              text=True, errors="replace")

    def programs(self, file, tree, folder, targets):
        """Compiles the tree's copy of a .cu file and links the targets with it: {target: program}, empty if it does
        not compile, and what the compiler says."""
        command, compiled = self.compiles[file], folder / "compiled.o"
        result = self.compile(command, tree, compiled)
        if result.returncode != 0:
            return {}, result.stderr
        programs = {target: folder / target for target in targets}
        for target, program in programs.items():
            result = self.link(target, command, compiled, program)
            if result.returncode != 0:
                raise UsageError(f"{self}: {target} does not link with a new object of {file}:\n"
                                 f"{result.stderr[-3000:]}")
        return programs, result.stderr


class Tree:
    """A source tree in which one file at a time is changed: device code as copies, everything else as links."""

    def __init__(self, directory, origin=ROOT):
        self.root, self.origin = Path(directory) / "source", origin
        self.root.mkdir(parents=True)
        for entry in ROOT.iterdir():
            if entry.name not in FOLDERS:
                (self.root / entry.name).symlink_to(entry)
        for folder in FOLDERS:
            shutil.copytree(origin / folder, self.root / folder)

    def redirect(self, word, build):
        """The word of a command line with paths of the repository replaced, those of the build directory kept."""
        kept = build.relative_to(ROOT) if build.is_relative_to(ROOT) else None
        unless = rf"(?!/{re.escape(str(kept))}(?:/|$))" if kept else ""
        return re.sub(rf"{re.escape(str(ROOT))}(?=/|$){unless}", str(self.root), word)

    def change(self, file, text):
        (self.root / file).write_text(text)

    def restore(self, file):
        shutil.copyfile(self.origin / file, self.root / file)


# ------------------------------------------------------------------------------------------------ choosing the tests

@dataclass
class Test:
    target: str
    name: str
    seconds: float
    kernels: list


def survey(build, spec, jobs, scratch):
    """Runs each of the build's tests that the spec selects by itself, and says how long it took and which kernels it
    executed. Remembers that for as long as the programs stay the same."""
    programs = [build.program(target) for target in build.targets]
    stamp = [spec, *([str(p), p.stat().st_mtime_ns, p.stat().st_size] for p in programs)]
    cache = build.directory / "mutate-survey.json"
    if cache.exists():
        stored = json.loads(cache.read_text())
        if stored["of"] == stamp:
            return [Test(**test) for test in stored["tests"]]

    names = [(target, name) for target in build.targets for name in test_names(build.program(target), spec)]
    say(f"{build}: running {len(names)} tests one by one, to see which kernels each executes")

    def run_one(numbered):
        number, (target, name) = numbered
        record = scratch / f"kernels-{number}"
        result = run_tests(build.program(target), [name], scratch / f"names-{number}", None,
                           {"KG_EMULATOR_KERNELS": str(record)})
        if result.failed:
            raise UsageError(f"{build}: the test '{name}' fails without any change:\n{result.output[-3000:]}")
        kernels = record.read_text().split("\n") if record.exists() else []
        return Test(target, name, result.seconds, sorted({k.split("<")[0] for k in kernels if k}))

    with interruptible_pool(jobs) as pool:
        tests = list(pool.map(run_one, enumerate(names)))
    cache.write_text(json.dumps({"of": stamp, "tests": [vars(test) for test in tests]}))
    return tests


def test_names(program, spec):
    def listing(*options):
        done = subprocess.run([program, *options, spec], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout

    text = listing("--list-test-names-only")
    if "nrecognised token" in text:  # Catch2 3
        text = listing("--list-tests", "--verbosity", "quiet")
    return [line.strip() for line in text.split("\n") if line.strip()]


@dataclass
class Result:
    failed: bool
    how: str
    output: str
    seconds: float


def run_tests(program, names, list_file, timeout, environment=None):
    """Runs the named tests in one process, up to the first failure."""
    list_file.write_text("".join(f'"{escape(name)}"\n' for name in names))
    options = {"TSAN_OPTIONS": "halt_on_error=1:atexit_sleep_ms=20", "ASAN_OPTIONS": "detect_leaks=0"}
    for name, ours in options.items():
        options[name] = ":".join(filter(None, [os.environ.get(name), ours]))
    start = time.monotonic()
    process = subprocess.Popen([program, "--abort", "--input-file", list_file], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               env={**os.environ, **options, **(environment or {})}, start_new_session=True,
                               cwd=list_file.parent)
    try:
        output = process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output = process.communicate()[0]
        return Result(True, "hang", output, time.monotonic() - start)
    seconds = time.monotonic() - start
    if process.returncode == 0 and "No test cases matched" not in output and "No tests ran" not in output:
        return Result(False, "", output, seconds)
    how = next((name for name, sign in SIGNS if re.search(sign, output)), f"exit status {process.returncode}")
    return Result(True, how, output, seconds)


def escape(name):
    return re.sub(r'([\\,"\[\]])', r"\\\1", name)


# ------------------------------------------------------------------------------------------------------ the verdict

class Judge:
    """Decides about mutants, several at a time: each thread has a tree and a folder of its own."""

    def __init__(self, builds, tests, all_sources, scratch, budget):
        self.builds, self.tests, self.scratch, self.budget = builds, tests, scratch, budget
        self.sources = {source.name: source for source in all_sources}
        self.unchanged = Tree(scratch / "unchanged")
        self.controls, self.locks, self.lock = {}, {}, threading.Lock()
        self.local = threading.local()

    def folder(self):
        if not hasattr(self.local, "folder"):
            self.local.folder = Path(tempfile.mkdtemp(prefix="thread-", dir=self.scratch))
            self.local.tree = Tree(self.local.folder, self.unchanged.root)
        return self.local.folder

    def once(self, key, compute):
        """The value of compute(), which is called once for each key."""
        with self.lock:
            lock = self.locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self.controls:
                self.controls[key] = compute()
            return self.controls[key]

    def value_comparisons(self, file):
        """Places of comparisons of floating-point numbers: those are of data, no bounds. Shifting, unlike comparing,
        is for integers only, and it binds tighter: so the compiler tells."""
        source, build, places, inserted = self.sources[file], self.builds[0], {}, {}
        text = source.text
        for token in comparisons(source):
            line = source.line(token.begin)
            inserted[line] = inserted.get(line, 0) + 1
            places[line, source.column(token.begin) + inserted[line] - 1] = source.column(token.begin)
        for token in reversed(comparisons(source)):
            text = text[:token.begin] + "<<" + text[token.end:]
        self.folder()
        tree, found = self.local.tree, set()
        tree.change(file, text)
        for user in build.users.get(file, []) if places else []:
            log = build.compile(build.compiles[user], tree, os.devnull, ["-fsyntax-only"]).stderr
            place = re.escape(str(tree.root / file))
            for match in re.finditer(rf"{place}:(\d+):(\d+): error: invalid operands.*", log):
                at = int(match[1]), int(match[2])
                if at in places and re.search(r"\b(float|double)\b", match[0]) and "*" not in match[0]:
                    found.add(f"{file}:{at[0]}:{places[at]}")
        tree.restore(file)
        return found

    def stages(self, mutant, user):
        """The tests that execute the mutant by way of that .cu file: the quickest of them, and the rest."""
        kernels = {kernel.name for kernel in self.sources[user].kernels()}
        if mutant.function in kernels:
            kernels = {mutant.function}
        first, rest, total = [], [], 0
        for test in sorted((t for t in self.tests if kernels & set(t.kernels)), key=lambda test: test.seconds):
            total += test.seconds
            if total <= FIRST_TESTS_SECONDS or not first:
                first.append(test)
            elif total <= self.budget:
                rest.append(test)
        return [stage for stage in (first, rest) if stage]

    def plans(self, mutant):
        """(build, .cu file, stages) in the order in which to try them: the files with the quickest tests first."""
        found = [(build, user, self.stages(mutant, user)) for build in self.builds
                 for user in build.users.get(mutant.file, [])]
        return sorted((plan for plan in found if plan[2]),
                      key=lambda plan: (sum(test.seconds for test in plan[2][0]), plan[1]))

    def judge(self, mutant):
        """Returns the mutant with its status set."""
        start = time.monotonic()
        folder, tree = self.folder(), self.local.tree
        tree.change(mutant.file, mutant.apply(self.sources[mutant.file].text))
        try:
            verdicts = []
            for build, user, stages in self.plans(mutant):
                verdicts.append(self.meet(mutant, build, user, stages, tree, folder))
                if verdicts[-1][0] == "killed":
                    break
            # One that survives in one .cu file and does not compile in another has survived.
            mutant.status, mutant.how = next((v for s in ("killed", "survived", "does not compile")
                                              for v in verdicts if v[0] == s), ("survived", "no test executes it"))
        except UsageError as error:
            mutant.status, mutant.output = "not judged", str(error)
            mutant.how = mutant.output.split("\n")[0]
        finally:
            tree.restore(mutant.file)
            mutant.seconds = time.monotonic() - start
        return mutant

    def meet(self, mutant, build, user, stages, tree, folder):
        """The mutant meets the tests: its status, and how it came about."""
        programs, log = build.programs(user, tree, folder, {test.target for test in sum(stages, [])})
        if not programs:
            mutant.output = log
            return "does not compile", next((line for line in log.split("\n") if "error" in line), "no message")
        for stage in stages:
            limit = self.control(build, user, stage) * HANG_FACTOR + HANG_SECONDS
            result = run_stage(programs, stage, folder, limit)
            if result.failed:
                mutant.output = result.output
                return "killed", f"{result.how} ({build}, {user})"
        return "survived", f"{sum(map(len, stages))} tests"

    def control(self, build, user, stage):
        """Seconds that the tests take without a change, compiled and linked in the same way. They must pass, or their
        failing would prove nothing."""
        targets = {test.target for test in stage}

        def make():
            folder = Path(tempfile.mkdtemp(prefix="control-", dir=self.scratch))
            return folder, *build.programs(user, self.unchanged, folder, targets)

        def measure():
            folder, programs, log = self.once((build.directory, user, *sorted(targets)), make)
            if not programs:
                raise UsageError(f"{build}: {user} does not compile without any change:\n{log[-3000:]}")
            result = run_stage(programs, stage, folder, None)
            if result.failed:
                raise UsageError(f"{build}: the tests of {user} fail without any change ({result.how}):\n"
                                 f"{result.output[-3000:]}")
            return result.seconds

        return self.once((build.directory, user, tuple((test.target, test.name) for test in stage)), measure)


def run_stage(programs, tests, folder, timeout):
    """Runs the tests, of whichever program, up to the first failure."""
    result, total = None, 0
    for target, program in programs.items():
        names = [test.name for test in tests if test.target == target]
        if names:
            result = run_tests(program, names, folder / "names", timeout)
            total += result.seconds
            if result.failed:
                break
    return Result(result.failed, result.how, result.output, total)


# ------------------------------------------------------------------------------------------------------- reporting

@contextmanager
def interruptible_pool(jobs):
    """Where an exception passes through, what has begun is finished, but nothing else begun."""
    pool = ThreadPoolExecutor(jobs)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def say(text):
    print(text, flush=True)


def describe(mutant):
    change = f"{mutant.function}: {mutant.source_line}"
    return f"{mutant.status:<16} {mutant.place:<48} {change}\n{'':<16} {mutant.how}, {mutant.seconds:.1f} s"


def summary(mutants):
    """A table: one row for each file, one column for each status."""
    statuses = ["killed", "survived", "does not compile", "not judged"]
    rows = [["file", "mutants", *statuses]]
    for file in [*dict.fromkeys(m.file for m in mutants), "all"]:
        counts = Counter(m.status for m in mutants if file in (m.file, "all"))
        rows.append([file, counts.total(), *(counts[status] for status in statuses)])
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(str(cell).ljust(width) if i == 0 else str(cell).rjust(width)
                       for i, (cell, width) in enumerate(zip(row, widths))) for row in rows]
    ways = Counter(m.how.split(" (")[0] for m in mutants if m.status == "killed")
    lines.append("killed by: " + (", ".join(f"{way} {count}" for way, count in ways.most_common()) or "nothing"))
    survivors = [describe(m) for m in mutants if m.status in ("survived", "not judged")]
    return "\n".join(lines + (["", "survivors:", *survivors] if survivors else ["no survivors"]))


def write_report(path, mode, mutants, skipped):
    if path.suffix == ".json":
        fields = ["file", "line", "column", "function", "source_line", "replacement", "status", "how", "seconds"]
        path.write_text(json.dumps({"mode": mode, "mutants": [{f: getattr(m, f) for f in fields} for m in mutants],
                                    "comparisons_of_values": skipped}, indent=1) + "\n")
    else:
        path.write_text(f"mutate.py {mode}\n\n{summary(mutants)}\n\n" + "\n".join(map(describe, mutants)) + "\n")


def selected(mutants, only):
    """Those in FILE or FILE:LINE of the command line."""
    if not only:
        return mutants
    for wanted in only:
        if not any(matches(mutant, wanted) for mutant in mutants):
            raise UsageError(f"--only {wanted}: nothing to mutate there")
    return [mutant for mutant in mutants if any(matches(mutant, wanted) for wanted in only)]


def matches(mutant, wanted):
    file, _, line = wanted.partition(":")
    path = os.path.relpath(file, ROOT) if Path(file).exists() else file
    return mutant.file == path and line in ("", str(mutant.line))


def run(arguments):
    all_sources = sources()
    mutants = selected([m for source in all_sources for m in MODES[arguments.mode](source)], arguments.only)
    if arguments.list and not arguments.build:
        for mutant in mutants:
            say(f"{mutant.place}: {mutant.function}: {mutant.source_line}")
        say(f"{len(mutants)} mutants" + (", comparisons of floating-point numbers among them"
                                         if arguments.mode == "bounds" else ""))
        return 0
    builds = [Build(directory) for directory in arguments.build]
    if not builds:
        raise UsageError("--build DIR is missing: a build directory with the emulated tests")
    surveyed = Build(arguments.survey) if arguments.survey else builds[0]
    scratch = Path(tempfile.mkdtemp(prefix="mutate-", dir=builds[0].directory))
    try:
        tests = survey(surveyed, arguments.tests, arguments.jobs, scratch)
        judge = Judge(builds, tests, all_sources, scratch, arguments.budget)
        with interruptible_pool(arguments.jobs) as pool:
            values = set()
            if arguments.mode == "bounds":
                files = list(dict.fromkeys(mutant.file for mutant in mutants))
                values.update(*pool.map(judge.value_comparisons, files))
            skipped = [f"{m.place}: {m.source_line}" for m in mutants if m.place in values]
            mutants = [mutant for mutant in mutants if mutant.place not in values]
            for line in skipped:
                say(f"compares values   {line}")
            if arguments.list:
                for mutant in mutants:
                    say(f"{mutant.place}: {mutant.function}: {mutant.source_line}")
                say(f"{len(mutants)} mutants")
                return 0
            for done, mutant in enumerate(pool.map(judge.judge, mutants), start=1):
                say(f"[{done}/{len(mutants)}] {describe(mutant)}")
                if arguments.verbose and mutant.output:
                    say(mutant.output[-4000:])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    say("\n" + summary(mutants))
    if arguments.report:
        write_report(arguments.report, arguments.mode, mutants, skipped)
    return 1 if any(m.status in ("survived", "not judged") for m in mutants) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--build", action="append", default=[], metavar="DIR",
                        help="a build directory of the tests; a mutant meets them in this order")
    parser.add_argument("--survey", metavar="DIR",
                        help="the build directory in which to find out which test executes what (default: the first)")
    parser.add_argument("--tests", default="~[gradcheck]", metavar="SPEC",
                        help="the tests that may kill, as Catch2's test spec (default: ~[gradcheck], the slow ones)")
    parser.add_argument("--only", action="append", metavar="FILE[:LINE]", help="only the mutants there")
    parser.add_argument("--list", action="store_true", help="list the mutants and stop")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="mutants at a time")
    parser.add_argument("--budget", type=float, default=60, metavar="SECONDS",
                        help="how much of its tests a mutant meets, by the time they take without it (default: 60)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the results, as JSON if it ends in .json")
    parser.add_argument("--verbose", action="store_true", help="show the output of what failed")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(arguments)
    except (UsageError, SourceError) as error:
        print(f"mutate.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
