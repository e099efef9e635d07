# SPDX-License-Identifier: MIT
# The trainer's CUDA sources, which nvcc compiles for the program and the C++ compiler for the tests.
set(MNIST_CUDA_SOURCES
  augment.cu
  metrics.cu
)
list(TRANSFORM MNIST_CUDA_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
