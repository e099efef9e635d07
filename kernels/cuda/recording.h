#pragma once

namespace kg::kernels::cuda {

/// Told of every allocation. Where work is being recorded on this thread, the memory belongs to the
/// recording.
void note_allocation(void* memory);

/// Told of every release, before it happens. False if it must not happen now: the memory belonged to a
/// recording that failed, or a recording is in progress and the memory is not part of it. That recording then
/// fails at its end, and the memory is released there.
bool note_release(void* memory) noexcept;

}  // namespace kg::kernels::cuda
