# SPDX-License-Identifier: MIT
# Builds a copy of the examples' folder EXAMPLE, and of what NEEDS names beside it, against the kernelgrad installed in
# PREFIX, as a project of its own. Nothing of kernelgrad's sources may be used. Then runs PROGRAM with an argument, and
# expects the output to match EXPECTED.
cmake_policy(VERSION 3.25)
file(REMOVE_RECURSE ${BINARY})
foreach(folder ${EXAMPLE} ${NEEDS})
  get_filename_component(parent ${BINARY}/examples/${folder} DIRECTORY)
  file(COPY ${SOURCE}/examples/${folder} DESTINATION ${parent})
endforeach()

# One architecture, whether the library has the CUDA backend or not.
execute_process(COMMAND ${CMAKE_COMMAND} -S ${BINARY}/examples/${EXAMPLE} -B ${BINARY}/build -G Ninja
    -DCMAKE_PREFIX_PATH=${PREFIX} -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_CUDA_ARCHITECTURES=90-real
  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "cannot be configured:\n${output}")
endif()
execute_process(COMMAND ${CMAKE_COMMAND} --build ${BINARY}/build
  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "cannot be built:\n${output}")
endif()

execute_process(COMMAND ${NINJA} -C ${BINARY}/build -t deps OUTPUT_VARIABLE dependencies)
if(NOT dependencies MATCHES "include/kernelgrad/tensor.h")
  message(FATAL_ERROR "no header of kernelgrad's among the dependencies")
endif()
string(REGEX MATCHALL "[^\n]*${SOURCE}/(lib|kernels|examples|tests)/[^\n]*" of_the_tree "${dependencies}")
if(of_the_tree)
  list(JOIN of_the_tree "\n" of_the_tree)
  message(FATAL_ERROR "it is built from kernelgrad's sources:\n${of_the_tree}")
endif()

execute_process(COMMAND ${BINARY}/build/${PROGRAM} no-such-folder OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT output MATCHES "${EXPECTED}")
  message(FATAL_ERROR "expected \"${EXPECTED}\", the output is:\n${output}")
endif()
