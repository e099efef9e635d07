# SPDX-License-Identifier: MIT
"""Tests of what mutate.py changes, and of what coverage.py objects to. They need no compiler.

Usage: mutate_test.py [ARGUMENT OF UNITTEST...]
"""

import sys
import unittest

sys.dont_write_bytecode = True
from coverage import check, read_runs  # noqa: E402
from device_code import Source, SourceError  # noqa: E402
from mutate import barriers, bounds  # noqa: E402


def kernel(body):
    return Source("test.cu", "template <class T>\n__global__ void a_kernel(T* x, int n) {\n" + body + "\n}\n")


def lines(mutants, source):
    """The changed lines, by which a reader sees what a mutant is."""
    return [mutant.apply(source.text).split("\n")[mutant.line - 1].strip() for mutant in mutants]


class Barriers(unittest.TestCase):
    def changed(self, body):
        source = kernel(body)
        return lines(barriers(source), source)

    def test_each_is_deleted_on_its_own(self):
        source = kernel("__syncthreads();\nx[0] = 1;\n__syncwarp();\n__syncwarp(all_lanes & (1 << 3));")
        mutants = barriers(source)
        self.assertEqual(lines(mutants, source), [";", ";", ";"])
        for mutant in mutants:
            self.assertEqual(mutant.apply(source.text).count("__sync"), 2)
            self.assertEqual(mutant.function, "a_kernel")

    def test_all_there_is_to_an_if(self):
        self.assertEqual(self.changed("if (n > 0) __syncthreads();"), ["if (n > 0) ;"])

    def test_in_a_comment_it_is_none(self):
        self.assertEqual(self.changed("// __syncthreads();"), [])

    def test_what_cannot_be_deleted_is_an_error(self):
        for body in ["if (__syncthreads_or(n)) x[0] = 1;", "n = __syncthreads_count(n);",
                     "#define SYNC \\\n  __syncthreads()"]:
            with self.subTest(body), self.assertRaises(SourceError):
                self.changed(body)
        with self.assertRaises(SourceError):
            barriers(Source("test.h", "inline void f() { __syncthreads(); }"))


class Bounds(unittest.TestCase):
    def changed(self, body):
        source = kernel(body)
        return lines(bounds(source), source)

    def test_guards(self):
        for body, expected in [
                ("for (int i = 0; i < n; ++i) x[i] = 0;", ["for (int i = 0; i <= n; ++i) x[i] = 0;"]),
                ("if (threadIdx.x < n) return;", ["if (threadIdx.x <= n) return;"]),
                ("while (n < 3) ++n;", ["while (n <= 3) ++n;"]),
                ("x[0] = n < 3 ? 1 : 0;", ["x[0] = n <= 3 ? 1 : 0;"]),
                ("const bool exists = n < 3;", ["const bool exists = n <= 3;"]),
                ("return a < b && c < d;", ["return a <= b && c < d;", "return a < b && c <= d;"]),
                ("if (static_cast<int>(threadIdx.x) < f<T, 3>(n)) return;",
                 ["if (static_cast<int>(threadIdx.x) <= f<T, 3>(n)) return;"]),
                ("auto f = [&]<class U>(U i) { return i < n; };", ["auto f = [&]<class U>(U i) { return i <= n; };"])]:
            with self.subTest(body):
                self.assertEqual(self.changed(body), expected)

    def test_what_is_no_guard(self):
        for body in ["if (n <= 3) return;", "n = n << 2;", "n <<= 2;", "if constexpr (size < 4) n = 1;",
                     "static_assert(size < 4);", "constexpr bool small = size < 4;", "Pack<T> pack;",
                     "n = static_cast<int>(n);", "// i < n", "f<std::array<T, 3>>(n);"]:
            with self.subTest(body):
                self.assertEqual(self.changed(body), [])

    def test_a_loop_behind_a_constant_condition(self):
        self.assertEqual(self.changed("if constexpr (size < 4) {\n  if (n < 3) return;\n}"), ["if (n <= 3) return;"])

    def test_host_code_is_left_alone(self):
        self.assertEqual(bounds(Source("test.cu", "void f(int n) { for (int i = 0; i < n; ++i) g(i); }")), [])

    def test_in_doubt_it_is_an_error(self):
        for body in ["for (int i = 0; i<n; ++i) x[i] = 0;", "if (i< n) return;"]:
            with self.subTest(body), self.assertRaises(SourceError):
                self.changed(body)

    def test_device_functions_and_members(self):
        source = Source("test.h", "struct S {\n__device__ S(int n) : a_(n) { b_ = n < 3; }\n"
                                  "template <class T>\n__device__ bool operator()(T i) const { return i < a_; }\n};")
        self.assertEqual([mutant.function for mutant in bounds(source)], ["S", "operator()"])


class Coverage(unittest.TestCase):
    SOURCE = "template <int n, class T>\n__global__ void a_kernel(T* x) {}\n__global__ void b_kernel() {}\n"

    def faults(self, recorded, *texts):
        all_sources = [Source(f"{i}.cu", text) for i, text in enumerate(texts or [self.SOURCE])]
        return check(all_sources, read_runs(recorded))[1]

    def test_everything_ran(self):
        self.assertEqual(self.faults(["a_kernel<3, float>", "a_kernel<3, double>", "b_kernel", ""]), [])

    def test_what_never_ran(self):
        self.assertEqual(self.faults(["a_kernel<3, float>", "a_kernel<4, double>"]), ["0.cu:3: b_kernel never ran"])

    def test_what_ran_for_one_type_only(self):
        self.assertEqual(self.faults(["a_kernel<3, float>", "b_kernel"]), ["0.cu:2: a_kernel never ran for double"])
        self.assertEqual(self.faults(["a_kernel<3, Pack<double, float>>", "b_kernel"]),
                         ["0.cu:2: a_kernel never ran for float and double"])

    def test_element_types_by_another_name(self):
        text = "template <bool a, class In, class Out>\n__global__ void a_kernel(In* x) {}"
        self.assertEqual(self.faults(["a_kernel<true, float, double>", "a_kernel<true, double, double>"], text), [])
        self.assertEqual(self.faults(["a_kernel<true, float, double>", "a_kernel<true, float, float>"], text),
                         ["0.cu:2: a_kernel never ran for double"])

    def test_what_is_in_no_source(self):
        recorded = ["a_kernel<3, float>", "a_kernel<3, double>", "b_kernel", "c_kernel"]
        self.assertEqual(self.faults(recorded), ["c_kernel ran, but is in no source"])

    def test_names_must_be_unique(self):
        text = "__global__ void b_kernel() {}"
        self.assertEqual(self.faults(["b_kernel"], text, text),
                         ["b_kernel is defined more than once: 0.cu:1, 1.cu:1"])

    def test_rules(self):
        for text, part in [("void f() { k<<<1, 2>>>(3); }", "bare <<<"),
                           ("__device__ void f() { __shared__ int x[3]; }", "__shared__"),
                           ("__device__ void f(float* p) { atomicAdd(p, 1); }", "atomicAdd"),
                           ("#define LAUNCH(k) k<<<1, 2>>>()", "macro")]:
            with self.subTest(text):
                faults = self.faults(["b_kernel"], "__global__ void b_kernel() {}\n" + text)
                self.assertEqual(len(faults), 1, faults)
                self.assertIn(part, faults[0])

    def test_integer_atomics_are_allowed(self):
        self.assertEqual(self.faults(["b_kernel"], "__global__ void b_kernel() {}\n__device__ void f(void* p) { "
                                                   "atomicAdd(static_cast<unsigned long long*>(p), 1); }"), [])


if __name__ == "__main__":
    unittest.main()
