# SPDX-License-Identifier: MIT
"""Finds the device code in CUDA C++ sources: kernels, device functions, their bodies.

Works on the text alone. That is enough for sources that clang-format has laid out: a `<` with white space on both
sides is a comparison, one with a name right before it opens a template's arguments. What is neither, or does not
balance, is an error, not a guess.
"""

import re
from dataclasses import dataclass
from pathlib import Path

# The repository, and where in it device code can be.
ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ["kernels", "examples", "lib"]
SUFFIXES = {".cu", ".cuh", ".h"}

TOKEN = re.compile(r"[A-Za-z_]\w*|::|->|[^\s\w]|\d[\w.']*")
OPENING, CLOSING = "([{", ")]}"
LITERAL_OR_COMMENT = re.compile(
    r"""//[^\n]* | /\*.*?\*/
      | R"(?P<raw>[^\s()\\]*)\(.*?\)(?P=raw)" | "(?:\\.|[^"\\\n])*"
      | (?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])*'  # but not the separator in 1'000""",
    re.DOTALL | re.VERBOSE)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.)*(?:\\\n(?:[^\n\\]|\\.)*)*", re.MULTILINE)
# What stands before a function's name and takes arguments of its own.
ATTRIBUTES = {"__launch_bounds__", "__maxnreg__", "__cluster_dims__", "__block_size__", "__align__", "__attribute__",
              "alignas", "decltype", "explicit", "noexcept", "requires"}


class SourceError(Exception):
    """A place in a source that this module does not understand."""


@dataclass
class Token:
    text: str
    begin: int
    end: int


@dataclass
class Function:
    """A __global__ or __device__ function with a body."""
    name: str
    is_kernel: bool
    template_parameters: list  # their names, in order; empty if it is not a template
    line: int
    body: slice  # of the tokens: from the opening brace to the closing one, both included


def blank(text):
    """White space of the same length and with the same line breaks."""
    return re.sub(r"[^\n]", " ", text)


class Source:
    """A file: its text; its code, which is the text with comments, literals and preprocessor directives blanked out;
    and the code's tokens. Offsets are the same in both."""

    def __init__(self, name, text):
        self.name, self.text = name, text
        # Literals keep their quotes, so that an argument stays an argument.
        bare = LITERAL_OR_COMMENT.sub(
            lambda m: blank(m[0]) if m[0].startswith("/") else m[0][0] + blank(m[0][1:-1]) + m[0][-1], text)
        self.directives = [m[0] for m in DIRECTIVE.finditer(bare)]
        self.code = DIRECTIVE.sub(lambda m: blank(m[0]), bare)
        self.tokens = [Token(m[0], m.start(), m.end()) for m in TOKEN.finditer(self.code)]
        self.partner = self._match_brackets()
        self.functions = self._find_functions()

    def line(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def column(self, offset):
        """From 1, as compilers count."""
        return offset - self.text.rfind("\n", 0, offset)

    def error(self, offset, message):
        return SourceError(f"{self.name}:{self.line(offset)}: {message}")

    def _match_brackets(self):
        partner, open_brackets = {}, []
        for i, token in enumerate(self.tokens):
            if token.text in OPENING:
                open_brackets.append(i)
            elif token.text in CLOSING:
                opening = self.tokens[open_brackets[-1]].text if open_brackets else " "
                if OPENING.find(opening) != CLOSING.index(token.text):
                    raise self.error(token.begin, f"'{token.text}' closes nothing")
                partner[i] = open_brackets.pop()
                partner[partner[i]] = i
        if open_brackets:
            raise self.error(self.tokens[open_brackets[-1]].begin, "a bracket is never closed")
        return partner

    def _find_functions(self):
        functions = []
        for i, token in enumerate(self.tokens):
            if token.text not in ("__global__", "__device__"):
                continue
            function = self._parse_function(i)
            # __host__ __device__ __global__ in whatever order: one function, however many of them it has.
            if function and not any(f.body == function.body for f in functions):
                functions.append(function)
        return functions

    def _parse_function(self, marker):
        """The function that tokens[marker] announces, None for a declaration or a variable."""
        tokens, name, i = self.tokens, None, marker + 1
        while i < len(tokens):
            text = tokens[i].text
            if text in CLOSING or text in (";", "="):
                return None
            if text == "operator":
                start = i
                i += 1
                if tokens[i].text == "(":
                    i = self.partner[i] + 1
                while tokens[i].text != "(":
                    i += 1
                name = "".join(token.text for token in tokens[start:i])
            elif text == "[" or text == "(":
                before = tokens[i - 1].text
                if text == "(" and name is None and before not in ATTRIBUTES:
                    name = before if i - 1 > marker else "lambda"
                i = self.partner[i] + 1
            elif text == ":" and name is not None:
                i = self._skip_initialisers(i + 1)
            elif text == "{":
                return Function(name or "lambda", tokens[marker].text == "__global__",
                                self._template_parameters(marker), self.line(tokens[marker].begin),
                                slice(i, self.partner[i] + 1))
            else:
                i += 1
        return None

    def _skip_initialisers(self, i):
        """Past `a(1), b{2}` of a constructor, to the brace that opens its body."""
        while self.tokens[i].text not in "({":
            i += 1
        i = self.partner[i] + 1
        return self._skip_initialisers(i + 1) if self.tokens[i].text == "," else i

    def _template_parameters(self, marker):
        """Names of the parameters of the template<> before tokens[marker], which may have other words between."""
        i = marker
        while i > 0 and self.tokens[i - 1].text not in (";", "{", "}"):
            i -= 1
        head = self.tokens[i:marker]
        start = next((k for k, token in enumerate(head) if token.text == "template"), None)
        if start is None:
            return []
        names, depth, current = [], 0, []
        for token in head[start + 1:]:
            if token.text == "<":
                depth += 1
                if depth == 1:
                    continue
            if token.text == ">":
                depth -= 1
            if depth == 0 or depth == 1 and token.text == ",":
                names.append(parameter_name(current))
                current = []
                if depth == 0:
                    break
                continue
            current.append(token.text)
        return [name for name in names if name]

    def kernels(self):
        return [f for f in self.functions if f.is_kernel]

    def device_tokens(self):
        """Indices of the tokens in bodies of kernels and device functions."""
        indices = set()
        for function in self.functions:
            indices.update(range(function.body.start, function.body.stop))
        return sorted(indices)


def parameter_name(tokens):
    """`class T` -> T, `int size = 4` -> size."""
    if "=" in tokens:
        tokens = tokens[:tokens.index("=")]
    return tokens[-1] if tokens else ""


def sources(root=ROOT, folders=FOLDERS):
    """All sources in the root's folders that can hold device code, those with device code parsed."""
    found = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in SUFFIXES:
                continue
            text = path.read_text()
            if path.suffix == ".cu" or "__device__" in text or "__global__" in text:
                found.append(Source(str(path.relative_to(root)), text))
    return found
