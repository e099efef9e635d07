// SPDX-License-Identifier: MIT
#pragma once

namespace kg::kernels {

/// Says which of its kernels an implementation takes for the problem at hand ("AVX3",
/// "conv2d_tiled_kernel<float, 3, 8>"), for kg::backend_choices(): of several calls for a problem the first
/// counts. To be called on the thread that called the table's function; `name` lives for ever.
void note_variant(const char* name) noexcept;

}  // namespace kg::kernels
