# SPDX-License-Identifier: MIT
"""Loads a plug-in that is linked with the library, static or shared, and calls it.

Usage: plugin_test.py PLUGIN
"""

import ctypes
import re
import sys

plugin = ctypes.CDLL(sys.argv[1])

plugin.plugin_version.restype = ctypes.c_char_p
version = plugin.plugin_version().decode()
assert re.fullmatch(r"\d+\.\d+\.\d+", version), version

values = (ctypes.c_double * 3)(1, -2, 0.5)
plugin.plugin_cube_gradient(values, ctypes.c_int64(3))
assert list(values) == [3, 12, 0.75], list(values)

assert plugin.plugin_catches_errors() == 1
