// SPDX-License-Identifier: MIT
#include "kernelgrad/dtype.h"

namespace kg {

namespace {

struct Description {
  std::string_view name;
  std::size_t size;
};

/// In the order of DType.
constexpr Description descriptions[] = {
    {"float32", 4}, {"float64", 8}, {"uint8", 1}, {"int32", 4}, {"int64", 8}};

const Description& description_of(DType dtype) { return descriptions[static_cast<std::size_t>(dtype)]; }

}  // namespace

std::size_t size_of(DType dtype) { return description_of(dtype).size; }
std::string_view name_of(DType dtype) { return description_of(dtype).name; }
bool is_floating_point(DType dtype) { return dtype == DType::float32 || dtype == DType::float64; }

}  // namespace kg
