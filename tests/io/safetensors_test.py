# SPDX-License-Identifier: MIT
"""Holds kernelgrad's checkpoints against the package safetensors: what that writes kernelgrad reads, what kernelgrad
writes that reads, unchanged but for types that kernelgrad widens; what that refuses kernelgrad refuses.

Usage: safetensors_test.py SAFETENSORS_COPY
Exit status: 0 all equal, 1 something differs, 77 safetensors or NumPy is not installed.
"""

import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    from safetensors import SafetensorError, deserialize, safe_open
    from safetensors.numpy import load_file, save_file
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

DTYPES = [np.float32, np.float64, np.uint8, np.int32, np.int64]
# What kernelgrad has no dtype for, and what it becomes.
WIDENED = {np.float16: np.float32, np.bool_: np.uint8, np.int8: np.int32, np.int16: np.int32, np.uint16: np.int32,
           np.uint32: np.int64, np.uint64: np.int64}
NAMES = ["0.weight", "", "with space", 'quote"', "back\\slash", "new\nline", "ä€", "\x01"]


def examples(rng):
    tensors = {}
    for dtype in DTYPES:
        for shape in [(), (0,), (1,), (3, 0, 2), (7,), (3, 5, 7)]:
            tensors[f"{dtype.__name__} {shape}"] = np.asarray(rng.integers(0, 100, shape)).astype(dtype)
    for name in NAMES:
        tensors[name] = rng.random((2, 3), dtype=np.float32)
    tensors["special"] = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324])
    yield tensors, {"model": "s7_final", "ä": 'quote"\n', "": ""}
    yield {"w": np.arange(3, dtype=np.float32)}, None
    yield {}, None
    every_half = np.arange(65536, dtype=np.uint16).view(np.float16)
    yield {"half": every_half[np.isfinite(every_half)], "special": np.array([np.inf, -np.inf], np.float16)}, None
    yield {dtype.__name__: np.asarray(rng.integers(0, 2, (3, 5)) * (1 if dtype == np.bool_ else np.iinfo(dtype).max // 2)
                                      ).astype(dtype) for dtype in WIDENED if dtype != np.float16}, None


def widened(tensors):
    return {name: tensor.astype(WIDENED.get(tensor.dtype.type, tensor.dtype)) for name, tensor in tensors.items()}


def refusals(copy, directory):
    """Whatever kernelgrad reads the package reads, too: of files that are nearly right. Returns True if it is so."""
    tensor = '"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    bad = ["\ufeff{" + tensor + "}", "{" + tensor + "}\0", "{" + tensor + "}x", "{" + tensor + ",}",
           '{"__metadata__":{},"__metadata__":{},' + tensor + "}", '{"__metadata__":{"a":1},' + tensor + "}",
           "{" + tensor.replace('"F32",', '"F32","dtype":"F32",') + "}", "{" + tensor.replace("[1]", "[1.0]") + "}",
           "{" + tensor.replace("[1]", '[1],"x":' + "[" * 200 + "]" * 200) + "}", '{"\\ud800":1,' + tensor + "}",
           "{" + tensor.replace('"F32"', '"F31"') + "}", "{" + tensor.replace("[1]", "[-0]") + "}", "/**/{" + tensor + "}"]
    headers = [text.encode() for text in bad] + [b'{"\xff":1,' + tensor.encode() + b"}"]
    must_fail = len(headers)
    draws = random.Random(1)
    pieces = ["{", "}", "[", "]", ",", ":", '"', " ", "\0", "\n", "0", "1", "4", "-", ".", "e", "\\", "\ufeff", "F", "null"]
    whole = "{" + tensor + ',"__metadata__":{"a":"b"}}'
    for _ in range(300):
        at, length = draws.randrange(len(whole) + 1), draws.randrange(3)
        headers.append((whole[:at] + draws.choice(pieces) + whole[at + length:]).encode())
    accepted, path, good = 0, Path(directory) / "nearly", True
    for i, header in enumerate(headers):
        content = struct.pack("<Q", len(header)) + header + bytes(4)
        path.write_bytes(content)
        ours = subprocess.run([copy, path, path], stderr=subprocess.DEVNULL).returncode
        try:
            deserialize(content)
            theirs = True
        except SafetensorError:
            theirs = False
        accepted += ours == 0
        if ours not in (0, 1) or (ours == 0 and not theirs) or (i < must_fail and ours == 0):
            good = False
            print(f"kernelgrad {'reads' if ours == 0 else 'ends with %d on' % ours} what safetensors "
                  f"{'reads' if theirs else 'refuses'}: {header}")
    print(f"{len(headers)} headers that are nearly right, {accepted} read: {'as safetensors' if good else 'DIFFERENT'}")
    return good


def copied(copy, source, target):
    result = subprocess.run([copy, source, target], stderr=subprocess.PIPE, text=True)
    if result.returncode != 0:
        print(f"kernelgrad does not read what safetensors wrote: {result.stderr}")
    return result.returncode == 0


def equal(path, tensors, metadata):
    try:
        loaded = load_file(path)
        with safe_open(path, framework="numpy") as file:
            loaded_metadata = file.metadata() or None
    except SafetensorError as error:
        print(f"safetensors does not read what kernelgrad wrote: {error}")
        return False
    differing = [name for name in tensors.keys() | loaded.keys()
                 if name not in tensors or name not in loaded
                 or tensors[name].dtype != loaded[name].dtype or tensors[name].shape != loaded[name].shape
                 or tensors[name].tobytes() != loaded[name].tobytes()]
    for name in differing:
        print(f"differs: {name!r}: {tensors.get(name)} became {loaded.get(name)}")
    if loaded_metadata != metadata:
        print(f"metadata {metadata} became {loaded_metadata}")
    return not differing and loaded_metadata == metadata


def main():
    copy = sys.argv[1]
    passed = True
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory) / "source", Path(directory) / "target"
        for tensors, metadata in examples(np.random.default_rng(1)):
            save_file(tensors, source, metadata)
            good = copied(copy, source, target) and equal(target, widened(tensors), metadata)
            print(f"{len(tensors)} tensors: {'equal' if good else 'DIFFERENT'}")
            passed &= good
        passed &= refusals(copy, directory)
    sys.exit(0 if passed else 1)


main()
