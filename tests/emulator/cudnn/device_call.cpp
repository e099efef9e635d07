// SPDX-License-Identifier: MIT
#include "device_call.h"

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace standin {

namespace {

bool overlap(const emulator::DeviceRange& a, const emulator::DeviceRange& b) {
  const auto begin_a = reinterpret_cast<std::uintptr_t>(a.memory);
  const auto begin_b = reinterpret_cast<std::uintptr_t>(b.memory);
  return begin_a < begin_b + b.bytes && begin_b < begin_a + a.bytes;
}

bool same(const emulator::DeviceRange& a, const emulator::DeviceRange& b) {
  return a.memory == b.memory && a.bytes == b.bytes;
}

}  // namespace

double load(const Array& array, std::size_t index) {
  if (array.is_double) return static_cast<const double*>(array.memory)[index];
  return static_cast<const float*>(array.memory)[index];
}

std::vector<double> load(const Array& array) {
  std::vector<double> values(array.size);
  for (std::size_t i = 0; i < array.size; ++i) values[i] = load(array, i);
  return values;
}

void blend(const Array& array, std::size_t index, double alpha, double value, double beta) {
  const double result = alpha * value + (beta == 0 ? 0 : beta * load(array, index));
  if (array.is_double)
    static_cast<double*>(array.memory)[index] = result;
  else
    static_cast<float*>(array.memory)[index] = static_cast<float>(result);
}

void blend(const Array& array, double alpha, const std::vector<double>& values, double beta) {
  for (std::size_t i = 0; i < array.size; ++i) blend(array, i, alpha, values[i], beta);
}

void scribble(const Array& workspace) { std::memset(workspace.memory, 0xcd, workspace.bytes()); }

double to_tf32(double value) {
  const float single = static_cast<float>(value);
  std::uint32_t bits = 0;
  std::memcpy(&bits, &single, sizeof bits);
  bits = (bits + 0x1000) & ~std::uint32_t{0x1fff};
  float rounded = 0;
  std::memcpy(&rounded, &bits, sizeof rounded);
  return rounded;
}

void perturb(std::vector<double>& values) {
  static std::atomic<int> runs = 0;
  const double factor = runs++ % 2 == 0 ? 1 + 1e-3 : 1 - 1e-3;
  for (double& value : values) value *= factor;
}

double read_scalar(const char* function, const char* argument, const void* scalar, bool is_double) {
  emulator::check_host_scalar(function, argument, scalar);
  return is_double ? *static_cast<const double*>(scalar) : *static_cast<const float*>(scalar);
}

void DeviceCall::add(const Array& array, bool written) {
  call_.ranges.push_back({array.argument, array.memory, array.bytes(), written});
}

void DeviceCall::check_overlap(const char* in_place) const {
  const auto& ranges = call_.ranges;
  for (std::size_t i = 0; i < ranges.size(); ++i)
    for (std::size_t j = 0; j < ranges.size(); ++j) {
      if (i == j || !ranges[i].written || !overlap(ranges[i], ranges[j])) continue;
      if (std::string_view(ranges[j].argument) == in_place && same(ranges[i], ranges[j])) continue;
      emulator::library_fault(function(), std::string("arguments ") + ranges[i].argument + " and " +
                                              ranges[j].argument + " overlap");
    }
}

bool DeviceCall::run(std::function<void()> work, const char* in_place) {
  check_overlap(in_place);
  call_.work = std::move(work);
  return emulator::enqueue_library_call(std::move(call_));
}

}  // namespace standin
