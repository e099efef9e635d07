// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

/// CUDA graphs: work that is recorded once and then run again and again at the cost of a single launch.
namespace kg::kernels::cuda {

/// A recorded, instantiated piece of work; owns the memory that was allocated inside it.
struct Graph;

/// From here to end_capture() work of this thread on the stream is recorded, not run; other threads wait when
/// they want to use the device. Memory allocated meanwhile must be released meanwhile. Waits itself for a
/// recording on another thread.
void begin_capture();
/// True between the two, on the thread that called begin_capture().
bool is_recording();
/// Ends the recording. Throws Error if the work could not be recorded, for example because it waited for the
/// device.
Graph* end_capture();
/// Ends the recording and drops it, whatever state it is in.
void abandon_capture() noexcept;
/// Queues the recorded work.
void launch_graph(Graph&);
void destroy_graph(Graph*) noexcept;

/// *counter += amount, in device memory: what a replayed graph changes from one replay to the next.
void advance_counter(std::uint64_t* counter, std::uint64_t amount);

}  // namespace kg::kernels::cuda
