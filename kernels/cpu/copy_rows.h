// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace kg::kernels::cpu {

/// Rows of one plane copied to another pitch.
template <class T>
struct RowCopy {
  const T* from;
  std::int64_t from_pitch;
  T* to;
  std::int64_t to_pitch;
  std::int64_t rows, width;
  std::int64_t gap = 0;  ///< Zeros to write before each row.
};

/// to[r * to_pitch + gap + x] = from[r * from_pitch + x] for x < width, and 0 in the gap. Nothing else is
/// read or written.
template <class T>
void copy_rows(const RowCopy<T>& work);

}  // namespace kg::kernels::cpu
