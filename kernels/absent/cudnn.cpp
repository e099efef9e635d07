#include "kernels/cudnn.h"

#include "kernelgrad/error.h"
#include "kernels/absent/table.h"
#include "kernels/avg_pool2d.h"
#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"
#include "kernels/global_avg_pool2d.h"
#include "kernels/linear.h"
#include "kernels/log_softmax.h"
#include "kernels/max_pool2d.h"

/// What a build without the headers of cuDNN and cuBLAS, or without CUDA, links in place of kernels/cudnn/.
namespace kg::kernels::cudnn {

namespace {

[[noreturn]] void absent(const std::string& what) { throw Error(what + ": " + unavailable_reason()); }

}  // namespace

bool is_available() { return false; }
std::string unavailable_reason() { return "this build of kernelgrad was made without cuDNN and cuBLAS"; }
std::string version() { absent("version"); }
Options options() { return {}; }
void set_options(const Options&) {}

KG_ABSENT(AvgPool2dKernels, avg_pool2d)
KG_ABSENT(BatchNormKernels, batch_norm)
KG_ABSENT(Conv2dKernels, conv2d)
KG_ABSENT(GlobalAvgPool2dKernels, global_avg_pool2d)
KG_ABSENT(LinearKernels, linear)
KG_ABSENT(LogSoftmaxKernels, log_softmax)
KG_ABSENT(MaxPool2dKernels, max_pool2d)

}  // namespace kg::kernels::cudnn
