# SPDX-License-Identifier: MIT
# The operations that have kernels, each named here and nowhere else in CMake. An operation X has its contract in
# kernels/X.h, its kernels in kernels/cpu/X.cpp and kernels/cuda/X.cu, where cuDNN or cuBLAS offers it in
# kernels/cudnn/X.cpp, what calls them in lib/src/ops/X.cpp, tests in tests/ops/X_test.cpp and benchmarks in bench/X.cpp.
set(KG_OPERATIONS
  argmax
  avg_pool2d
  batch_norm
  conv2d
  cross_entropy
  dropout
  elementwise
  global_avg_pool2d
  linear
  log_softmax
  max_pool2d
  nll_loss
  reduce
)
# Those of cuDNN and cuBLAS among them.
set(KG_CUDNN_OPERATIONS avg_pool2d batch_norm conv2d global_avg_pool2d linear log_softmax max_pool2d)

# kernelgrad_operation_files(<variable> <prefix> <suffix> [<operation>...]): prefix, name and suffix of each.
function(kernelgrad_operation_files variable prefix suffix)
  list(TRANSFORM ARGN REPLACE "(.+)" "${prefix}\\1${suffix}")
  set(${variable} ${ARGN} PARENT_SCOPE)
endfunction()

# kernelgrad_null_tables(<file> <implementation> [<operation>...]): writes a source that says that the implementation
# has no tables of the operations.
function(kernelgrad_null_tables file implementation)
  set(includes "")
  set(tables "")
  foreach(operation IN LISTS ARGN)
    string(APPEND includes "#include \"kernels/${operation}.h\"\n")
    set(kernels Kernels)
    string(REPLACE "_" ";" words ${operation})
    list(REVERSE words)
    foreach(word IN LISTS words)
      string(SUBSTRING ${word} 0 1 first)
      string(SUBSTRING ${word} 1 -1 rest)
      string(TOUPPER ${first} first)
      string(PREPEND kernels ${first}${rest})
    endforeach()
    string(APPEND tables "template <>\nTables<${kernels}> tables() { return {}; }\n")
  endforeach()
  file(CONFIGURE OUTPUT ${file} @ONLY CONTENT
    "${includes}\nnamespace kg::kernels::${implementation} {\n${tables}}  // namespace kg::kernels::${implementation}\n")
endfunction()

set(KG_GENERATED_DIR ${PROJECT_BINARY_DIR}/generated)
set(quoted ${KG_CUDNN_OPERATIONS})
list(TRANSFORM quoted REPLACE "(.+)" "\"\\1\"")
list(JOIN quoted ", " quoted)
list(LENGTH KG_CUDNN_OPERATIONS count)
file(CONFIGURE OUTPUT ${KG_GENERATED_DIR}/kernels/operations.h @ONLY CONTENT "#pragma once

#include <array>
#include <string_view>

namespace kg::kernels {

/// The operations of which cuDNN or cuBLAS has an implementation too.
inline constexpr std::array<std::string_view, ${count}> operations_of_cudnn = {${quoted}};

}  // namespace kg::kernels
")
set(without_cudnn ${KG_OPERATIONS})
list(REMOVE_ITEM without_cudnn ${KG_CUDNN_OPERATIONS})
kernelgrad_null_tables(${KG_GENERATED_DIR}/cudnn_never.cpp cudnn ${without_cudnn})
kernelgrad_null_tables(${KG_GENERATED_DIR}/cudnn_absent.cpp cudnn ${KG_CUDNN_OPERATIONS})
kernelgrad_null_tables(${KG_GENERATED_DIR}/cuda_absent.cpp cuda ${KG_OPERATIONS})
