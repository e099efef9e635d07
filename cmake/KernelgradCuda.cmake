# Decides whether the CUDA backend is built, from the option KG_CUDA (AUTO, ON, OFF), and sets KG_WITH_CUDA.
# kernelgrad_cuda_target(<target>): what every target of CUDA sources is compiled with.

set(KG_WITH_CUDA OFF)
if(KG_CUDA)
  # Where the toolkit installs itself, whether that is on the path or not.
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin
    DOC "The CUDA compiler")
  if(CMAKE_CUDA_COMPILER)
    set(KG_WITH_CUDA ON)
  elseif(NOT KG_CUDA STREQUAL AUTO)
    message(FATAL_ERROR "KG_CUDA=${KG_CUDA}, but there is no CUDA compiler: install the CUDA Toolkit, set "
      "CMAKE_CUDA_COMPILER or CUDA_HOME, or configure with -DKG_CUDA=OFF")
  else()
    unset(CMAKE_CUDA_COMPILER CACHE)
    message(STATUS "kernelgrad: no CUDA compiler found: building for the CPU alone")
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

function(kernelgrad_cuda_target target)
  # CMake 3.25 does not know that this nvcc takes C++20 and drops CUDA_STANDARD 20 without a word.
  target_compile_options(${target} PRIVATE
    -std=c++20 -Xcompiler=-Wall,-Wextra "$<$<BOOL:${KG_WERROR}>:-Werror=all-warnings;-Xcompiler=-Werror>")
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/lib/include)
  if(KG_TESTS)
    # What a test reads afterwards: registers, stack and spills of every kernel.
    target_compile_options(${target} PRIVATE -Xptxas=-v)
    set_target_properties(${target} PROPERTIES
      CUDA_COMPILER_LAUNCHER ${PROJECT_SOURCE_DIR}/tests/kernels/cuda/keep_ptxas_report)
  endif()
endfunction()
