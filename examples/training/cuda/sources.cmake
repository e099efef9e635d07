# SPDX-License-Identifier: MIT
# The optimizers' CUDA sources, which nvcc compiles for the library and the C++ compiler for the tests.
set(KG_TRAINING_CUDA_SOURCES
  step.cu
)
list(TRANSFORM KG_TRAINING_CUDA_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
