// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "kernelgrad/dtype.h"
#include "kernelgrad/error.h"

namespace kg {

/// A type as a value, to hand to a lambda: visit_floating(x.dtype(), "relu", [&]<class T>(Type<T>) { ... });
template <class T>
struct Type {};

/// Calls `visitor` with the C++ type of a floating-point dtype; throws Error naming the operation for any
/// other.
template <class Visitor>
decltype(auto) visit_floating(DType dtype, std::string_view op, Visitor&& visitor) {
  switch (dtype) {
    case DType::float32:
      return visitor(Type<float>());
    case DType::float64:
      return visitor(Type<double>());
    default:
      throw Error(std::string(op) + ": the input is " + std::string(name_of(dtype)) +
                  ", expected float32 or float64");
  }
}

template <class Visitor>
decltype(auto) visit_integer(DType dtype, Visitor&& visitor) {
  switch (dtype) {
    case DType::uint8:
      return visitor(Type<std::uint8_t>());
    case DType::int32:
      return visitor(Type<std::int32_t>());
    case DType::int64:
      return visitor(Type<std::int64_t>());
    default:
      throw Error("visit_integer: " + std::string(name_of(dtype)) + " is no integer type");
  }
}

template <class Visitor>
decltype(auto) visit_any(DType dtype, Visitor&& visitor) {
  if (is_floating_point(dtype)) return visit_floating(dtype, "visit_any", visitor);
  return visit_integer(dtype, visitor);
}

}  // namespace kg
