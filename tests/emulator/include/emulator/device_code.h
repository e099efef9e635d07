// SPDX-License-Identifier: MIT
#pragma once

#include <math.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

#include "emulator/vector_types.h"

/// What a kernel sees: qualifiers, built-in variables, barriers, warp operations, atomics, intrinsics.

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
// No __shared__: shared memory comes from SharedMemory alone, whose real header is replaced, and any other
// use of the word must not compile.

// Constants, because to a CUDA thread they are: its copy of them in a register stays right for as long as it
// runs, and the sanitizers do not instrument reads. The scheduler has other names for the same storage.
extern const uint3 threadIdx __asm__("kg_emulator_thread_index");
extern const uint3 blockIdx __asm__("kg_emulator_block_index");
extern const dim3 blockDim __asm__("kg_emulator_block_extent");
extern const dim3 gridDim __asm__("kg_emulator_grid_extent");
inline constexpr int warpSize = 32;

namespace emulator {

using Location = std::source_location;

enum class Operation {
  syncthreads,
  syncthreads_count,
  syncthreads_and,
  syncthreads_or,
  syncwarp,
  shuffle,
  shuffle_xor,
  shuffle_up,
  shuffle_down,
  ballot,
  any,
  all
};

/// Waits for the block's other threads; returns what the operation makes of everybody's values.
int block_barrier(Operation, int value, const Location&);
/// Waits for the lanes of `mask`; returns this lane's result. `argument`: source lane, lane mask or distance.
std::uint64_t warp_operation(Operation, unsigned mask, std::uint64_t value, int argument, int width,
                             const Location&);

template <class T>
T shuffle(Operation operation, unsigned mask, T value, int argument, int width, const Location& where) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "shuffles exist for numbers of 4 and 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_operation(operation, mask, bits, argument, width, where);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace emulator

// Each notes where it was called from: all threads must be at the same place.
#define KG_EMULATOR_WHERE const emulator::Location& where = emulator::Location::current()

inline void __syncthreads(KG_EMULATOR_WHERE) {
  emulator::block_barrier(emulator::Operation::syncthreads, 0, where);
}
inline int __syncthreads_count(int predicate, KG_EMULATOR_WHERE) {
  return emulator::block_barrier(emulator::Operation::syncthreads_count, predicate, where);
}
inline int __syncthreads_and(int predicate, KG_EMULATOR_WHERE) {
  return emulator::block_barrier(emulator::Operation::syncthreads_and, predicate, where);
}
inline int __syncthreads_or(int predicate, KG_EMULATOR_WHERE) {
  return emulator::block_barrier(emulator::Operation::syncthreads_or, predicate, where);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, KG_EMULATOR_WHERE) {
  emulator::warp_operation(emulator::Operation::syncwarp, mask, 0, 0, warpSize, where);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = warpSize, KG_EMULATOR_WHERE) {
  return emulator::shuffle(emulator::Operation::shuffle, mask, value, lane, width, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, KG_EMULATOR_WHERE) {
  return emulator::shuffle(emulator::Operation::shuffle_xor, mask, value, lane_mask, width, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = warpSize, KG_EMULATOR_WHERE) {
  return emulator::shuffle(emulator::Operation::shuffle_up, mask, value, static_cast<int>(distance), width,
                           where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = warpSize, KG_EMULATOR_WHERE) {
  return emulator::shuffle(emulator::Operation::shuffle_down, mask, value, static_cast<int>(distance), width,
                           where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, KG_EMULATOR_WHERE) {
  return static_cast<unsigned>(
      emulator::warp_operation(emulator::Operation::ballot, mask, predicate != 0, 0, warpSize, where));
}
inline int __any_sync(unsigned mask, int predicate, KG_EMULATOR_WHERE) {
  return static_cast<int>(
      emulator::warp_operation(emulator::Operation::any, mask, predicate != 0, 0, warpSize, where));
}
inline int __all_sync(unsigned mask, int predicate, KG_EMULATOR_WHERE) {
  return static_cast<int>(
      emulator::warp_operation(emulator::Operation::all, mask, predicate != 0, 0, warpSize, where));
}
#undef KG_EMULATOR_WHERE

// Atomics, relaxed as CUDA's are. Integers only: sums of floating-point numbers would depend on the order.
template <class T>
concept KgEmulatorAtomic = std::is_integral_v<T> &&(sizeof(T) == 4 || sizeof(T) == 8);

template <KgEmulatorAtomic T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
template <KgEmulatorAtomic T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}
template <KgEmulatorAtomic T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
// No other CUDA thread runs between the load and the store.
template <KgEmulatorAtomic T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  const T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  if (value > old) __atomic_store_n(address, value, __ATOMIC_RELAXED);
  return old;
}
template <KgEmulatorAtomic T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  const T old = __atomic_load_n(address, __ATOMIC_RELAXED);
  if (value < old) __atomic_store_n(address, value, __ATOMIC_RELAXED);
  return old;
}

// Loads and stores with a cache hint.
template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldca(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
T __ldlu(const T* address) {
  return *address;
}
template <class T>
void __stcg(T* address, std::type_identity_t<T> value) {
  *address = value;
}
template <class T>
void __stcs(T* address, std::type_identity_t<T> value) {
  *address = value;
}
template <class T>
void __stwb(T* address, std::type_identity_t<T> value) {
  *address = value;
}

inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __popcll(unsigned long long bits) { return std::popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((std::uint64_t{a} * b) >> 32);
}

inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __int_as_float(int bits) { return std::bit_cast<float>(bits); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline long long __double_as_longlong(double value) { return std::bit_cast<long long>(value); }
inline double __longlong_as_double(long long bits) { return std::bit_cast<double>(bits); }

// Arithmetic that the compiler must not fuse.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }

// As CUDA's: of two floating-point numbers of which one is NaN, the other.
inline int min(int a, int b) { return b < a ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return b < a ? b : a; }
inline unsigned min(int a, unsigned b) { return min(static_cast<unsigned>(a), b); }
inline unsigned min(unsigned a, int b) { return min(a, static_cast<unsigned>(b)); }
inline long min(long a, long b) { return b < a ? b : a; }
inline unsigned long min(unsigned long a, unsigned long b) { return b < a ? b : a; }
inline long long min(long long a, long long b) { return b < a ? b : a; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return b < a ? b : a; }
inline float min(float a, float b) { return fminf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline unsigned max(int a, unsigned b) { return max(static_cast<unsigned>(a), b); }
inline unsigned max(unsigned a, int b) { return max(a, static_cast<unsigned>(b)); }
inline long max(long a, long b) { return a < b ? b : a; }
inline unsigned long max(unsigned long a, unsigned long b) { return a < b ? b : a; }
inline long long max(long long a, long long b) { return a < b ? b : a; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a < b ? b : a; }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
