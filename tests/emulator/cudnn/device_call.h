// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "library_call.h"

/// What the stand-ins of cuDNN and cuBLAS share: arrays in device memory, and calls that work on them.
namespace standin {

/// float or double in device memory, as an argument of a library's function.
struct Array {
  const char* argument;  ///< its name, for messages
  void* memory;
  std::size_t size;
  bool is_double;

  std::size_t bytes() const { return size * (is_double ? sizeof(double) : sizeof(float)); }
};

// To be called by work that runs on a stream.
std::vector<double> load(const Array&);
double load(const Array&, std::size_t index);
/// array[index] = alpha * value + beta * array[index], whose old value is not read where beta is 0.
void blend(const Array&, std::size_t index, double alpha, double value, double beta);
/// The same for all elements.
void blend(const Array&, double alpha, const std::vector<double>& values, double beta);
/// Leaves nothing of what was there: a library may do anything with its workspace.
void scribble(const Array& workspace);
/// Rounded to TF32's mantissa of 10 bits.
double to_tf32(double);
/// What an algorithm that is not deterministic does to its results: they differ from run to run, by far more
/// than a real library's, or no test would see it.
void perturb(std::vector<double>& values);

/// A host scalar, read now. Fails if it lies in device memory.
double read_scalar(const char* function, const char* argument, const void* scalar, bool is_double);

/// A function's work on a stream, and the device memory that it may access.
class DeviceCall {
 public:
  DeviceCall(const char* function, CUstream_st* stream) : call_{function, stream, {}, {}} {}

  void reads(const Array& array) { add(array, false); }
  void writes(const Array& array) { add(array, true); }
  /// Queues the work; see emulator::enqueue_library_call(). Fails if something written overlaps another
  /// argument, other than `in_place` being the same memory as what is read under that name.
  [[nodiscard]] bool run(std::function<void()> work, const char* in_place = "");

  const char* function() const { return call_.function; }

 private:
  void add(const Array&, bool written);
  void check_overlap(const char* in_place) const;

  emulator::LibraryCall call_;
};

}  // namespace standin
