#pragma once

#include <functional>
#include <string>

#include "kernelgrad/backend.h"
#include "kernels/unsupported.h"

/// Which implementation runs a call: the policies, and the memory of what they led to.
namespace kg::backend {

/// The operations with a choice, numbered as operations_with_a_choice() lists them.
enum class Operation { avg_pool2d, batch_norm, conv2d, global_avg_pool2d, linear, log_softmax, max_pool2d };

KernelPolicy policy_of(Operation operation);

/// One function of an operation, called for one problem.
struct Call {
  Operation operation;
  std::string_view function;  ///< "backward_weight"
  DType dtype;
  std::string problem;
};

/// One of the ways to make a call. `run` does what was asked for, or throws kernels::Unsupported before it
/// has done anything. `rehearse` takes as long and changes nothing but what `run` will write: it runs many
/// times, and then `run`.
struct Way {
  std::function<void()> run, rehearse;
};

/// Makes the call in the way that the policy asks for, or in the other if that one cannot; says which it was.
Backend make(const Call& call, const Way& native, const Way& cudnn);

/// A function of an operation whose table is Table, for elements of type T.
template <class Table>
struct Function {
  Operation operation;
  std::string_view name;
  DType dtype;
  const Table& (*native)();
  const Table& (*cudnn)();
};

/// Calls `run` with the table of the implementation to use, and returns that table. `rehearse` is called
/// likewise, as Way says; `describe` for the text of the problem.
template <class Table, class Describe, class Run, class Rehearse>
const Table& choose(const Function<Table>& function, const Describe& describe, const Run& run,
                    const Rehearse& rehearse) {
  // Our own kernels without a choice: the usual case, in which a text would take as long as a launch.
  if (policy_of(function.operation) == KernelPolicy::native) try {
      run(function.native());
      return function.native();
    } catch (const kernels::Unsupported&) {
      if (!cudnn_is_available()) throw;
    }
  const auto way = [&](const Table& (*table)()) {
    return Way{[&run, table] { run(table()); }, [&rehearse, table] { rehearse(table()); }};
  };
  const Backend used = make({function.operation, function.name, function.dtype, describe()},
                            way(function.native), way(function.cudnn));
  return used == Backend::native ? function.native() : function.cudnn();
}

template <class Table, class Describe, class Run>
const Table& choose(const Function<Table>& function, const Describe& describe, const Run& run) {
  return choose(function, describe, run, run);
}

}  // namespace kg::backend
