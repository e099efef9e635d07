// SPDX-License-Identifier: MIT
#include "kernelgrad/error.h"
#include "kernels/device.h"
#include "kernels/graph.h"

/// What a build without the CUDA backend links in its place: nothing is available, and everything says so by
/// name.
namespace kg::kernels::cuda {

namespace {

[[noreturn]] void absent(const std::string& what) {
  throw Error(what + ": " + unavailable_reason() + "; use kg::Device::cpu()");
}

}  // namespace

bool is_available() { return false; }
std::string unavailable_reason() { return "this build of kernelgrad has no CUDA backend"; }
std::string device_name() { absent("device_name"); }
Peaks peaks() { absent("peaks"); }
const DeviceFunctions& device() { absent("device"); }

struct Graph {};
void begin_capture() { absent("begin_capture"); }
bool is_recording() { return false; }
Graph* end_capture() { absent("end_capture"); }
void abandon_capture() noexcept {}
void launch_graph(Graph&) { absent("launch_graph"); }
void destroy_graph(Graph*) noexcept {}
void advance_counter(std::uint64_t*, std::uint64_t) { absent("advance_counter"); }

}  // namespace kg::kernels::cuda
