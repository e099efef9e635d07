# SPDX-License-Identifier: MIT
# Decides whether the CUDA backend is built, from the option KG_CUDA (AUTO, ON, OFF), and sets KG_WITH_CUDA.

# kernelgrad_cuda_fault(<variable>): why CUDA sources cannot be compiled here, or nothing.
function(kernelgrad_cuda_fault variable)
  # Where the toolkit installs itself, whether that is on the path or not.
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin
    DOC "The CUDA compiler")
  if(NOT CMAKE_CUDA_COMPILER)
    set(${variable} "there is no CUDA compiler" PARENT_SCOPE)
    return()
  endif()
  # A whole program: a version of nvcc does not take every host compiler, and the toolkit may be there in part.
  set(probe ${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/cuda_probe)
  set(host_compiler ${CMAKE_CUDA_HOST_COMPILER} $ENV{CUDAHOSTCXX})
  list(TRANSFORM host_compiler PREPEND -ccbin=)
  file(WRITE ${probe}.cu "__global__ void probe() {}\nint main() { probe<<<1, 1>>>(); }\n")
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} -std=c++20 ${host_compiler} -o ${probe} ${probe}.cu
    RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE version ERROR_QUIET)
  if(version MATCHES "release ([0-9.]+)" AND CMAKE_MATCH_1 VERSION_LESS 12)
    set(${variable} "${CMAKE_CUDA_COMPILER} is of CUDA ${CMAKE_MATCH_1}, 12 is needed" PARENT_SCOPE)
  elseif(NOT status EQUAL 0)
    set(${variable} "${CMAKE_CUDA_COMPILER} cannot build a program (${status}): ${output}" PARENT_SCOPE)
  else()
    set(${variable} "" PARENT_SCOPE)
  endif()
endfunction()

set(KG_WITH_CUDA OFF)
if(KG_CUDA)
  kernelgrad_cuda_fault(fault)
  if(fault STREQUAL "")
    set(KG_WITH_CUDA ON)
  elseif(NOT KG_CUDA STREQUAL AUTO)
    message(FATAL_ERROR "KG_CUDA=${KG_CUDA}, but ${fault}\nInstall the CUDA Toolkit, set CMAKE_CUDA_COMPILER or CUDA_HOME, "
      "or configure with -DKG_CUDA=OFF")
  else()
    unset(CMAKE_CUDA_COMPILER CACHE)
    message(NOTICE "kernelgrad: building for the CPU alone: ${fault}")
  endif()
endif()

if(KG_WITH_CUDA)
  # What nvcc 13 can build for, in use today; the last one also as PTX, for what comes after.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 90-real 120 CACHE STRING "GPU architectures to build for")
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit 12 REQUIRED)
endif()

# As an installed library says whether it has the CUDA backend.
set(kernelgrad_WITH_CUDA ${KG_WITH_CUDA})
