#include "kernelgrad/error.h"
#include "kernels/absent/table.h"
#include "kernels/argmax.h"
#include "kernels/avg_pool2d.h"
#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"
#include "kernels/cross_entropy.h"
#include "kernels/device.h"
#include "kernels/dropout.h"
#include "kernels/elementwise.h"
#include "kernels/global_avg_pool2d.h"
#include "kernels/graph.h"
#include "kernels/linear.h"
#include "kernels/log_softmax.h"
#include "kernels/max_pool2d.h"
#include "kernels/nll_loss.h"
#include "kernels/reduce.h"
#include "kernels/relu.h"

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
void begin_capture(Stream) { absent("begin_capture"); }
bool is_recording() { return false; }
Graph* end_capture(Stream) { absent("end_capture"); }
void abandon_capture(Stream) noexcept {}
void launch_graph(Graph&, Stream) { absent("launch_graph"); }
void destroy_graph(Graph*) noexcept {}
void advance_counter(std::uint64_t*, std::uint64_t, Stream) { absent("advance_counter"); }

KG_ABSENT(ArgmaxKernels, argmax)
KG_ABSENT(AvgPool2dKernels, avg_pool2d)
KG_ABSENT(BatchNormKernels, batch_norm)
KG_ABSENT(Conv2dKernels, conv2d)
KG_ABSENT(CrossEntropyKernels, cross_entropy)
KG_ABSENT(DropoutKernels, dropout)
KG_ABSENT(ElementwiseKernels, elementwise)
KG_ABSENT(GlobalAvgPool2dKernels, global_avg_pool2d)
KG_ABSENT(LinearKernels, linear)
KG_ABSENT(LogSoftmaxKernels, log_softmax)
KG_ABSENT(MaxPool2dKernels, max_pool2d)
KG_ABSENT(NllLossKernels, nll_loss)
KG_ABSENT(ReduceKernels, reduce)
KG_ABSENT(ReluKernels, relu)

}  // namespace kg::kernels::cuda
