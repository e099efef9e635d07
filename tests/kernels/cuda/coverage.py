# SPDX-License-Identifier: MIT
"""Every kernel is executed by the emulated tests, and the sources keep the rules that a reader of the text can check.

Usage: coverage.py [--recorded FILE... --] PROGRAM [TEST SPEC]... [-- PROGRAM [TEST SPEC]...]...

Reads files to which test programs appended the names of the kernels that they executed (KG_EMULATOR_KERNELS). If these
say too little, runs the test programs given (all of their tests, or those that Catch2's test specs select). Prints a
listing of all kernels in kernels/, lib/ and examples/. Exit status: 0 if every kernel ran, those over an element type
for float and for double, and no source breaks a rule; otherwise 1.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
from device_code import FOLDERS, SourceError, sources  # noqa: E402

ELEMENT_TYPES = ["float", "double"]
# Where tests have kernels of their own.
TESTS_KERNELS = "tests/kernels"
# The one file that declares shared memory.
SHARED_MEMORY = "lib/include/kernelgrad/cuda/shared_memory.h"


def split_arguments(text):
    """The template arguments in "float, Pack<int, 4>, 3"."""
    arguments, depth = [""], 0
    for character in text:
        depth += (character in "<(") - (character in ">)")
        if character == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += character
    return [argument.strip() for argument in arguments if argument.strip()]


def read_runs(lines):
    """{kernel: {its template arguments, as text}} out of lines like "relu_forward_kernel<float>"."""
    runs = {}
    for line in lines:
        name, _, rest = line.strip().partition("<")
        if name:
            runs.setdefault(name, set()).add(rest.removesuffix(">").strip())
    return runs


def missing_runs(kernel, instantiations):
    """What of a kernel never ran, as text; empty if nothing is missing."""
    if not instantiations:
        return "never ran"
    columns = list(zip(*map(split_arguments, instantiations)))
    if "T" in kernel.template_parameters:
        types = columns[kernel.template_parameters.index("T")]
    else:  # the first parameter that was an element type in any run, if there is one
        types = next((column for column in columns if set(column) & set(ELEMENT_TYPES)), ELEMENT_TYPES)
    missing = [name for name in ELEMENT_TYPES if name not in types]
    return f"never ran for {' and '.join(missing)}" if missing else ""


def broken_rules(source):
    """Places where a source breaks a rule, as messages."""
    tokens = source.tokens

    def at(i, message):
        return f"{source.name}:{source.line(tokens[i].begin)}: {message}"

    for i, token in enumerate(tokens):
        if source.code.startswith("<<<", token.begin):
            yield at(i, "a bare <<<: kernels are launched through common/launch.h")
        if token.text == "__shared__" and source.name != SHARED_MEMORY:
            yield at(i, f"__shared__: shared memory comes from {SHARED_MEMORY}")
        # The type of what is added cannot be read off the text, so that no atomic addition passes but one to a
        # pointer that is visibly of an integer's.
        if re.fullmatch(r"atomicAdd\w*", token.text) and not integer_atomic(source, i):
            yield at(i, f"{token.text} on what may be a floating-point number: sums would depend on the order; if it "
                        "is an integer, cast its address, e.g. static_cast<unsigned*>(p)")
    for directive in source.directives:
        if re.search(r"__shared__|__global__|atomicAdd|<<<", directive):
            yield f"{source.name}: device code in a macro: {directive.strip()}"


def integer_atomic(source, i):
    """True if the first argument of the call that token i names is cast to a pointer to integers."""
    call = source.code[source.tokens[i].end:source.tokens[source.partner[i + 1]].end]
    integer = r"(unsigned|int|std::u?int\d+_t)( (int|long|long long))?"
    return re.match(rf"\((static|reinterpret)_cast<{integer}\*>", call) is not None


def duplicates(all_sources):
    """Messages about kernels of the same name: a recorded name must say which kernel ran."""
    places = {}
    for source in all_sources:
        for kernel in source.kernels():
            places.setdefault(kernel.name, []).append(f"{source.name}:{kernel.line}")
    return [f"{name} is defined more than once: {', '.join(where)}"
            for name, where in places.items() if len(where) > 1]


def check(all_sources, runs):
    """The listing, and the faults found, as lines."""
    rows, faults = [], duplicates(all_sources)
    for source in all_sources:
        faults += broken_rules(source)
        for kernel in source.kernels():
            instantiations = runs.get(kernel.name, set())
            missing = missing_runs(kernel, instantiations)
            shown = sorted(re.sub(r"\w+::", "", arguments) or "yes" for arguments in instantiations)
            rows.append((f"{source.name}:{kernel.line}", kernel.name, "; ".join(shown) or "-"))
            if missing:
                faults.append(f"{source.name}:{kernel.line}: {kernel.name} {missing}")
    if not rows:
        faults.append("there is no kernel in the sources")
    widths = [max(len(row[i]) for row in rows) for i in range(2)] if rows else []
    listing = ["  ".join([row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2]]) for row in rows]
    known = {kernel.name for source in all_sources for kernel in source.kernels()}
    faults += [f"{name} ran, but is in no source" for name in sorted(runs) if name not in known]
    return listing, faults


def record(commands):
    """Runs the programs; the lines that they recorded."""
    with tempfile.TemporaryDirectory(prefix="kernelgrad-coverage-") as folder:
        path = Path(folder) / "kernels"
        for command in commands:
            print(f"running {' '.join(command)}", flush=True)
            process = subprocess.run(command, env={**os.environ, "KG_EMULATOR_KERNELS": str(path)},
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
            if process.returncode != 0:
                sys.exit(f"{process.stdout[-5000:]}\n{command[0]} failed: exit status {process.returncode}")
        return path.read_text().split("\n") if path.exists() else []


def split_commands(arguments):
    commands = [[]]
    for argument in arguments:
        if argument == "--":
            commands.append([])
        else:
            commands[-1].append(argument)
    return [command for command in commands if command]


def main(arguments):
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 2
    commands, files = split_commands(arguments), []
    if arguments[0] == "--recorded":
        files = [Path(file) for file in commands.pop(0)[1:]]
    lines = [line for file in files if file.exists() or not commands for line in file.read_text().split("\n")]
    try:
        all_sources = sources(folders=[*FOLDERS, TESTS_KERNELS])
        listing, faults = check(all_sources, read_runs(lines))
        if faults and commands:
            listing, faults = check(all_sources, read_runs(lines + record(commands)))
    except SourceError as error:
        listing, faults = [], [str(error)]
    print("\n".join(listing))
    if not faults:
        print(f"all {len(listing)} kernels ran")
        return 0
    print(f"\n{len(faults)} faults:\n" + "\n".join(faults))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
