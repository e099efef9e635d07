// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string_view>

#include "core/no_memory.h"
#include "dispatch/types.h"
#include "kernelgrad/tensor.h"
#include "kernels/description.h"
#include "kernels/table.h"

/// The way from an operation to its kernels: run() finds the implementation that is to compute, by the device
/// and by the policy (kernelgrad/backend.h), and calls a function of its table.
namespace kg {

using kernels::Description;

namespace dispatch {

enum class Implementation { cpu, cuda, cudnn };

/// A function of an operation's table, called for a problem.
struct Call {
  std::string_view operation, function;  ///< "conv2d", "backward_weight"
  TensorOptions like;                    ///< dtype and device of the tensors
  Description problem;
};

/// Does what is to be done with an implementation, or throws kernels::Unsupported before it has done
/// anything.
using Work = std::function<void(Implementation)>;

/// Calls `run` with the implementation to use; with the other if that one does not take the problem, and says
/// so once. To find the faster one it calls `rehearse` many times, which takes as long as `run` and changes
/// nothing but what `run` will write. Returns who ran.
Implementation run_by_policy(const Call& call, const Work& run, const Work& rehearse);

/// The table of an implementation; throws Unsupported where this build has none.
template <class Kernels>
const Kernels& table_of(Implementation implementation) {
  const Kernels* table = nullptr;
  switch (implementation) {
    case Implementation::cpu:
      table = kernels::cpu::table<Kernels>();
      break;
    case Implementation::cuda:
      table = kernels::cuda::table<Kernels>();
      break;
    case Implementation::cudnn:
      table = kernels::cudnn::table<Kernels>();
      break;
  }
  if (!table)
    throw kernels::Unsupported(std::string(Kernels::operation) + ": not in this build of kernelgrad");
  return *table;
}

/// Calls use(table) with the implementation's table for the dtype.
template <template <class> class Kernels, class Use>
void with_table(Implementation implementation, DType dtype, const Use& use) {
  visit_floating(dtype, Kernels<float>::operation,
                 [&]<class T>(Type<T>) { use(table_of<Kernels<T>>(implementation)); });
}

/// Runs a function of an operation's table for tensors `like` these:
///
///     run<Conv2dKernels>("forward", like, problem.description(),
///                        [&]<class T>(const Conv2dKernels<T>& kernels) { kernels.forward(problem, ...); });
///
/// `rehearse` where a call has effects that must not happen twice: see run_by_policy().
template <template <class> class Kernels, class Run, class Rehearse>
Implementation run(std::string_view function, const TensorOptions& like, const Description& problem,
                   const Run& run, const Rehearse& rehearse) {
  const auto with = [&like](const auto& use) {
    return [&like, &use](Implementation implementation) {
      with_table<Kernels>(implementation, like.dtype, use);
    };
  };
  return run_by_policy({Kernels<float>::operation, function, like, problem}, with(run), with(rehearse));
}

template <template <class> class Kernels, class Run>
Implementation run(std::string_view function, const TensorOptions& like, const Description& problem,
                   const Run& body) {
  return run<Kernels>(function, like, problem, body, body);
}

}  // namespace dispatch

}  // namespace kg
