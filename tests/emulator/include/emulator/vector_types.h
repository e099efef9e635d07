// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

/// CUDA's vector types, of its sizes and alignments, and dim3.

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define KG_EMULATOR_VECTORS(name, type, align2, align4)                          \
  struct name##1 {                                                               \
    type x;                                                                      \
  };                                                                             \
  struct alignas(align2) name##2 {                                               \
    type x, y;                                                                   \
  };                                                                             \
  struct name##3 {                                                               \
    type x, y, z;                                                                \
  };                                                                             \
  struct alignas(align4) name##4 {                                               \
    type x, y, z, w;                                                             \
  };                                                                             \
  constexpr name##1 make_##name##1(type x) { return {x}; }                       \
  constexpr name##2 make_##name##2(type x, type y) { return {x, y}; }            \
  constexpr name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; } \
  constexpr name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

KG_EMULATOR_VECTORS(char, signed char, 2, 4)
KG_EMULATOR_VECTORS(uchar, unsigned char, 2, 4)
KG_EMULATOR_VECTORS(short, short, 4, 8)
KG_EMULATOR_VECTORS(ushort, unsigned short, 4, 8)
KG_EMULATOR_VECTORS(int, int, 8, 16)
KG_EMULATOR_VECTORS(uint, unsigned, 8, 16)
KG_EMULATOR_VECTORS(long, long, 16, 16)
KG_EMULATOR_VECTORS(ulong, unsigned long, 16, 16)
KG_EMULATOR_VECTORS(longlong, long long, 16, 16)
KG_EMULATOR_VECTORS(ulonglong, unsigned long long, 16, 16)
KG_EMULATOR_VECTORS(float, float, 8, 16)
KG_EMULATOR_VECTORS(double, double, 16, 16)

#undef KG_EMULATOR_VECTORS
