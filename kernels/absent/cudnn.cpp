// SPDX-License-Identifier: MIT
#include "kernels/cudnn.h"

#include "kernelgrad/error.h"

/// What a build without the headers of cuDNN and cuBLAS, or without CUDA, links in place of kernels/cudnn/.
namespace kg::kernels::cudnn {

namespace {

[[noreturn]] void absent(const std::string& what) { throw Error(what + ": " + unavailable_reason()); }

}  // namespace

bool is_available() { return false; }
std::string unavailable_reason() { return "this build of kernelgrad was made without cuDNN and cuBLAS"; }
std::string version() { absent("version"); }
CudnnOptions options() { return {}; }
void set_options(const CudnnOptions&) {}

}  // namespace kg::kernels::cudnn
