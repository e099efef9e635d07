// SPDX-License-Identifier: MIT
// A few functions with C's names, as a library for another language has them.
#include <algorithm>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "kernelgrad/kernelgrad.h"

#define PLUGIN extern "C" __attribute__((visibility("default")))

PLUGIN const char* plugin_version() {
  static const std::string version(kg::version());
  return version.c_str();
}

/// The gradient of sum(x * x * x) for `count` numbers, in place.
PLUGIN void plugin_cube_gradient(double* values, std::int64_t count) {
  kg::Tensor x = kg::Tensor::from(std::vector<double>(values, values + count), {count});
  x.set_requires_grad(true);
  kg::sum(x * x * x).backward();
  const kg::Tensor gradient = x.grad();
  std::copy_n(gradient.data<double>(), count, values);
}

/// Whether an error of the library arrives here as what it is.
PLUGIN int plugin_catches_errors() {
  try {
    kg::Tensor::zeros({2}) + kg::Tensor::zeros({3});
  } catch (const kg::Error&) {
    return 1;
  } catch (const std::exception&) {
  }
  return 0;
}
