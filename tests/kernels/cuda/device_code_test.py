# SPDX-License-Identifier: MIT
"""Tests of device_code.py on sources in many layouts, and on the repository's own.

Usage: device_code_test.py [ARGUMENT OF UNITTEST...]
"""

import sys
import unittest

sys.dont_write_bytecode = True
from device_code import ROOT, Source, SourceError, sources  # noqa: E402


def parse(text):
    return Source("test.cu", text)


def names(text):
    return [(f.name, f.is_kernel) for f in parse(text).functions]


class Functions(unittest.TestCase):
    def test_kernels_in_every_layout(self):
        for text in ["__global__ void a_kernel(int* x) { *x = 1; }",
                     "__global__ void\n    a_kernel(int* x) {}",
                     "__global__\nvoid a_kernel(int* x)\n{\n}",
                     "__global__ void __launch_bounds__(block_size)\n    a_kernel(int* x) {}",
                     "__global__ void __launch_bounds__(f(1, 2), (3)) a_kernel(int* x) {}",
                     "__global__ __launch_bounds__(256, 2) void a_kernel() {}",
                     "static __global__ void a_kernel() {}",
                     "template <class T>\n__global__ void a_kernel(const T* x) {}",
                     "template <class T, int n = 4>\nstatic __global__ void a_kernel(Pack<T> x, int y = f(3)) {}",
                     "__attribute__((noinline)) __global__ void a_kernel() {}",
                     "__global__ void /* why ( */ a_kernel(  // {\n int* x) {}"]:
            with self.subTest(text):
                self.assertEqual(names(text), [("a_kernel", True)])

    def test_device_functions(self):
        for text, name in [("__device__ int f(int a) { return a; }", "f"),
                           ("__host__ __device__ constexpr int f(int a) { return a; }", "f"),
                           ("__device__ __host__ int f() { return 0; }", "f"),
                           ("struct S { template <class T> __device__ T operator()(T a) const { return a; } };",
                            "operator()"),
                           ("struct S { __device__ T& operator[](int i) { return p[i]; } };", "operator[]"),
                           ("__device__ bool operator==(A a, A b) { return true; }", "operator=="),
                           ("struct S { __device__ S(int n) : a_(n), b_{1, 2} { c_ = 3; } };", "S"),
                           ("__device__ auto f(int a) -> decltype(a) { return a; }", "f"),
                           ("auto f = [=] __device__ (int i) { return i; };", "lambda")]:
            with self.subTest(text):
                self.assertEqual(names(text), [(name, False)])

    def test_what_is_none(self):
        for text in ["__global__ void a_kernel(int* x);", "__device__ int f();", "int f() { return 0; }",
                     "__device__ const float table[] = {1, 2};", "struct S { __device__ S(const S&) = delete; };",
                     "// __global__ void a_kernel() {}", "/* __global__ void a_kernel() {} */",
                     'const char* s = "__global__ void a_kernel() {}";',
                     "#define KERNEL(name) \\\n  __global__ void name() {}",
                     'const char* s = R"x(__global__ void a_kernel() {})x";']:
            with self.subTest(text):
                self.assertEqual(names(text), [])

    def test_template_parameters(self):
        for text, parameters in [("", []), ("template <class T>", ["T"]),
                                 ("template <typename T, int n = 4>", ["T", "n"]),
                                 ("template <int n, class T = A<B<int>, 3>>\nstatic", ["n", "T"]),
                                 ("template <template <class> class Op, class T>", ["Op", "T"]),
                                 ("template <class T> void f() {}", [])]:
            with self.subTest(text):
                source = parse(f"{text}\n__global__ void a() {{}}")
                self.assertEqual(source.kernels()[0].template_parameters, parameters)

    def test_bodies(self):
        source = parse("void f() { a; }\n__global__ void k() {\n  if (x) { b; }\n  [&] { c; }();\n}\nvoid g() { d; }")
        self.assertEqual([source.tokens[i].text for i in source.device_tokens() if source.tokens[i].text in "abcd"],
                         ["b", "c"])

    def test_lines_and_columns(self):
        source = parse("/* one\n   two */ int a;\n__global__ void k() {}")
        self.assertEqual(source.functions[0].line, 3)
        a = next(token for token in source.tokens if token.text == "a")
        self.assertEqual((source.line(a.begin), source.column(a.begin)), (2, 15))

    def test_code_has_the_offsets_of_the_text(self):
        text = 'int a = 1\'000; // "x\nchar c = \'"\'; /* \' */ auto s = "/*\\""; int b;\n#include <x>\nint z;'
        source = parse(text)
        self.assertEqual(len(source.code), len(text))
        for name in "abz":
            self.assertIn(name, [token.text for token in source.tokens])
        self.assertNotIn("x", [token.text for token in source.tokens])

    def test_unbalanced_brackets_are_an_error(self):
        for text in ["void f() {", "void f() }", "void f( { ) }"]:
            with self.subTest(text), self.assertRaises(SourceError):
                parse(text)


class Repository(unittest.TestCase):
    def test_every_kernel_is_found(self):
        found = sources()
        self.assertTrue(found, "no device code in the repository?")
        for source in found:
            with self.subTest(source.name):
                self.assertEqual(source.code.count("__global__"), len(source.kernels()))
                for kernel in source.kernels():
                    self.assertRegex(kernel.name, r"^\w+_kernel$")
                    self.assertIn(kernel.name, (ROOT / source.name).read_text())


if __name__ == "__main__":
    unittest.main()
