# SPDX-License-Identifier: MIT
# The CUDA backend's sources, which nvcc compiles for the library and the C++ compiler for the tests.
kernelgrad_operation_files(KG_CUDA_SOURCES "" .cu ${KG_OPERATIONS})
list(APPEND KG_CUDA_SOURCES conv2d_backward_weight.cu conv2d_general.cu conv2d_tiled.cu device.cu graph.cu)
list(TRANSFORM KG_CUDA_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
