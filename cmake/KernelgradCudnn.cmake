# SPDX-License-Identifier: MIT
# Decides whether cuDNN and cuBLAS can stand in for kernels, from the option KG_CUDNN (AUTO, ON, OFF), and sets
# KG_WITH_CUDNN. Only headers are needed: the libraries are loaded by the program when it wants them. Nor is a CUDA
# compiler: without one the tests still run that code, against stand-ins.

set(KG_WITH_CUDNN OFF)
if(KG_CUDNN AND (KG_WITH_CUDA OR KG_TESTS))
  set(toolkit_hints $ENV{CUDA_HOME} $ENV{CUDA_PATH} ${CUDAToolkit_INCLUDE_DIRS} /usr/local/cuda)
  set(KG_CUDNN_INCLUDE_DIRS "")
  set(missing "")
  foreach(header cuda_runtime.h cublas_v2.h cudnn.h)
    string(MAKE_C_IDENTIFIER "KG_DIRECTORY_OF_${header}" directory)
    find_path(${directory} ${header} HINTS ${toolkit_hints} PATH_SUFFIXES include DOC "Folder of ${header}")
    mark_as_advanced(${directory})
    if(${directory})
      list(APPEND KG_CUDNN_INCLUDE_DIRS ${${directory}})
    else()
      list(APPEND missing ${header})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES KG_CUDNN_INCLUDE_DIRS)
  if(NOT missing)
    set(KG_WITH_CUDNN ON)
  elseif(NOT KG_CUDNN STREQUAL AUTO)
    message(FATAL_ERROR "KG_CUDNN=${KG_CUDNN}, but these headers were not found: ${missing}. Install cuDNN and the CUDA "
      "Toolkit, set CUDA_HOME, or configure with -DKG_CUDNN=OFF")
  else()
    message(STATUS "kernelgrad: no ${missing} found: building without cuDNN and cuBLAS")
  endif()
endif()
