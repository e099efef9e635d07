// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "kernelgrad/export.h"

namespace KG_API kg {

/// The type of a tensor's elements. Floating-point types take part in differentiation, the others hold data
/// and labels.
enum class DType { float32, float64, uint8, int32, int64 };

/// Bytes per element.
std::size_t size_of(DType dtype);
/// "float32", "float64", "uint8", "int32" or "int64".
std::string_view name_of(DType dtype);
/// True for float32 and float64.
bool is_floating_point(DType dtype);

template <class T>
inline constexpr bool is_dtype =
    std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::uint8_t> ||
    std::is_same_v<T, std::int32_t> || std::is_same_v<T, std::int64_t>;

/// The DType of the C++ type T.
template <class T>
constexpr DType dtype_of() {
  static_assert(is_dtype<T>, "a tensor holds float, double, uint8_t, int32_t or int64_t");
  if constexpr (sizeof(T) == 1) return DType::uint8;
  if constexpr (T(1) / T(2) != T(0)) return sizeof(T) == 4 ? DType::float32 : DType::float64;
  return sizeof(T) == 4 ? DType::int32 : DType::int64;
}

}  // namespace kg
