// SPDX-License-Identifier: MIT
#pragma once

namespace kg::kernels::cuda {

/// Told of every allocation. Where work is being recorded on this thread, the memory belongs to the
/// recording.
void note_allocation(void* memory);

/// Releases memory, which is not null. While work is being recorded that it does not belong to, on whatever
/// thread, the release is put off until the end of the recording; where that is this thread's, it then fails.
/// Does not wait.
void release(void* memory) noexcept;

}  // namespace kg::kernels::cuda
