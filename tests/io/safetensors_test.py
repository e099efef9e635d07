"""Holds kernelgrad's checkpoints against the package safetensors: what that writes kernelgrad reads, what kernelgrad
writes that reads, unchanged.

Usage: safetensors_test.py SAFETENSORS_COPY
Exit status: 0 all equal, 1 something differs, 77 safetensors or NumPy is not installed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import numpy as np
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load_file, save_file
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

DTYPES = [np.float32, np.float64, np.uint8, np.int32, np.int64]
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
            good = copied(copy, source, target) and equal(target, tensors, metadata)
            print(f"{len(tensors)} tensors: {'equal' if good else 'DIFFERENT'}")
            passed &= good
    sys.exit(0 if passed else 1)


main()
