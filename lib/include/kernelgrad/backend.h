// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kernelgrad/device.h"
#include "kernelgrad/dtype.h"
#include "kernelgrad/export.h"

/// Which kernel computes what. On Device::cuda() some operations have two implementations: our own kernels,
/// and NVIDIA's in cuDNN and cuBLAS. Here is chosen which of them runs, operation by operation:
///
///     kg::set_kernel_policy("cudnn");                        // wherever there is a choice
///     kg::set_kernel_policy("conv2d=fastest,linear=cudnn");  // for these, the others as before
///     for (const kg::BackendChoice& choice : kg::backend_choices()) ...
///
/// The CPU has one implementation of each, whose kernels backend_choices() lists too.
namespace KG_API kg {

/// An implementation.
enum class Backend { native, cudnn };

/// How one is chosen for an operation.
enum class KernelPolicy {
  native,   ///< Our own: the default.
  cudnn,    ///< cuDNN's or cuBLAS's.
  fastest,  ///< The one that took less time when the problem was first seen. From run to run the choice, and
            ///< with it the last bits of results, may differ.
};

/// "native", "cudnn" or "fastest".
std::string_view name_of(KernelPolicy policy);
/// "native" or "cudnn".
std::string_view name_of(Backend backend);

/// The operations that both implementations offer, in alphabetical order: "avg_pool2d", "batch_norm",
/// "conv2d", "global_avg_pool2d", "linear", "log_softmax", "max_pool2d".
std::vector<std::string_view> operations_with_a_choice();

/// Sets the policy: `text` is the name of one for all operations, or "operation=policy" pairs with commas
/// between them. Throws Error for a name that there is not; and for "cudnn" where the libraries cannot be
/// loaded, naming the file that was not found. Takes the place of what the environment variable
/// KERNELGRAD_KERNELS says, in the same form, for the operations that it concerns.
void set_kernel_policy(std::string_view text);
/// For all operations.
void set_kernel_policy(KernelPolicy policy);
/// For one.
void set_kernel_policy(std::string_view operation, KernelPolicy policy);
/// The policy of an operation. Throws Error for one that has no choice, and if KERNELGRAD_KERNELS, which is
/// read when a policy is first asked for, holds what set_kernel_policy() would not take.
KernelPolicy kernel_policy(std::string_view operation);

/// What cuDNN and cuBLAS may do for speed. At first what our own kernels do.
struct CudnnOptions {
  bool allow_tf32 = false;    ///< Products of numbers rounded to 10 bits of mantissa, on tensor cores.
  bool deterministic = true;  ///< Only algorithms that give the same bits in every run.
};
/// Those that hold now.
CudnnOptions cudnn_options();
/// Holds from now on; what backend_choices() remembered is forgotten.
void set_cudnn_options(const CudnnOptions& options);

/// True if cuDNN and cuBLAS can be loaded.
bool cudnn_is_available();
/// Why cudnn_is_available() is false: names the file that was not found. Empty when it is true.
std::string cudnn_unavailable_reason();
/// "cuDNN 9.19.0, cuBLAS 13.1.0". Throws Error where they are not available.
std::string cudnn_version();

/// What runs for one problem of one operation.
struct BackendChoice {
  std::string operation;  ///< "conv2d backward_weight"
  std::string problem;    ///< "128x8x24x24, weight 16x8x3x3"
  DType dtype = DType::float32;
  Device device = Device::cpu();
  Backend backend = Backend::native;
  /// Which of its kernels: the instruction set on the CPU ("AVX2"), the name on CUDA
  /// ("conv2d_tiled_kernel<float, 3, 8>"); empty where there is one alone.
  std::string variant;
  double native_microseconds = 0;  ///< Of a call, among others in a busy queue; 0 where it was not timed.
  double cudnn_microseconds = 0;   ///< Likewise.
  std::string reason;              ///< "faster", "asked for", "the only one", or why the other could not run
};

/// What ran so far, in the order in which problems were first seen. Of problems that needed no choice the
/// first 10,000.
std::vector<BackendChoice> backend_choices();
/// backend_choices() as a table to print, a line for each.
std::string backend_choices_table();
/// Forgets the choices: each problem counts as not seen yet.
void forget_backend_choices();

/// Where a message goes when another implementation runs than the policy says, once for each problem: at
/// first to stderr, a line that begins with "kernelgrad: ". An empty function brings that back.
void set_notice_handler(std::function<void(const std::string& message)> handler);

}  // namespace kg
