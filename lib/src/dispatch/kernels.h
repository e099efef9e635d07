// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string_view>
#include <type_traits>

#include "core/tensor_impl.h"
#include "dispatch/types.h"
#include "kernelgrad/backend.h"
#include "kernelgrad/tensor.h"
#include "kernels/description.h"
#include "kernels/table.h"

/// The way from an operation to its kernels: run() finds the implementation that is to compute, by the device
/// and by the policy (kernelgrad/backend.h), and calls a function of its table.
namespace kg {

using kernels::Description;

namespace dispatch {

/// A function of an operation's table, called for a problem.
struct KernelCall {
  std::string_view operation, function;  ///< "conv2d", "backward_weight"
  TensorOptions like;                    ///< dtype and device of the tensors
  Description problem;
};

/// Does what is to be done with an implementation, or throws kernels::Unsupported before it has done
/// anything.
using Work = std::function<void(Backend)>;

/// Calls `run` with the implementation to use; with the other if that one does not take the problem, and says
/// so once. To find the faster one it calls `rehearse` many times, which takes as long as `run` and changes
/// nothing but what `run` will write. Returns who ran.
Backend run_by_policy(const KernelCall& call, const Work& run, const Work& rehearse);

/// The implementation's table; throws Unsupported where this build has none.
template <template <class> class Kernels, class T>
const Kernels<T>& table_of(Backend backend, Device device) {
  const kernels::Tables<Kernels> tables = backend == Backend::cudnn ? kernels::cudnn::tables<Kernels>()
                                          : device.is_cuda()        ? kernels::cuda::tables<Kernels>()
                                                                    : kernels::cpu::tables<Kernels>();
  if (const Kernels<T>* table = tables.template of<T>()) return *table;
  throw kernels::Unsupported(std::string(Kernels<T>::operation) + ": not in this build of kernelgrad");
}

/// Calls use(table) with the implementation's table for tensors `like` these.
template <template <class> class Kernels, class Use>
void with_table(Backend backend, const TensorOptions& like, const Use& use) {
  visit_floating(like.dtype, Kernels<float>::operation,
                 [&]<class T>(Type<T>) { use(table_of<Kernels, T>(backend, like.device)); });
}

/// Runs a function of an operation's table for tensors `like` these:
///
///     run<Conv2dKernels>("forward", like, problem.description(),
///                        [&](const auto& kernels) { compute(kernels.forward, problem, input, ...); });
///
/// `rehearse` where a call has effects that must not happen twice: see run_by_policy().
template <template <class> class Kernels, class Run, class Rehearse>
Backend run(std::string_view function, const TensorOptions& like, const Description& problem, const Run& run,
            const Rehearse& rehearse) {
  const auto with = [&like](const auto& use) {
    return [&like, &use](Backend backend) { with_table<Kernels>(backend, like, use); };
  };
  return run_by_policy({Kernels<float>::operation, function, like, problem}, with(run), with(rehearse));
}

template <template <class> class Kernels, class Run>
Backend run(std::string_view function, const TensorOptions& like, const Description& problem,
            const Run& body) {
  return run<Kernels>(function, like, problem, body, body);
}

}  // namespace dispatch

/// `argument` as a function takes it that has a parameter of that type.
template <class Parameter, class Argument>
decltype(auto) passed(const Argument& argument) {
  if constexpr (!std::is_same_v<Argument, Tensor>)
    return (argument);
  else if constexpr (std::is_pointer_v<Parameter>)
    return raw<std::remove_const_t<std::remove_pointer_t<Parameter>>>(argument);
  else  // kernels::Input, kernels::Output
    return argument.defined() ? Parameter(*argument.impl()->storage) : Parameter(nullptr);
}

/// Calls a function of a table. A tensor stands for its elements, and for null where it is undefined.
template <class... Parameters, class... Arguments>
void compute(void (*function)(Parameters...), const Arguments&... arguments) {
  function(passed<Parameters>(arguments)...);
}

}  // namespace kg
