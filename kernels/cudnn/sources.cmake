# SPDX-License-Identifier: MIT
# The sources that see the headers of cuDNN and cuBLAS.
kernelgrad_operation_files(KG_CUDNN_SOURCES "" .cpp ${KG_CUDNN_OPERATIONS})
list(APPEND KG_CUDNN_SOURCES context.cpp library.cpp)
list(TRANSFORM KG_CUDNN_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
