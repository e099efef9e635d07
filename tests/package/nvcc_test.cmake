# SPDX-License-Identifier: MIT
# Configures the library with a CUDA compiler that is broken or old. KG_CUDA=AUTO must do without it and say why, ON must
# be an error that says why.
file(REMOVE_RECURSE ${BINARY})
if(NVCC STREQUAL old)
  file(WRITE ${BINARY}/cuda/bin/nvcc "#!/bin/sh\necho 'Cuda compilation tools, release 11.8, V11.8.89'\n")
  set(reason "is of CUDA 11.8, 12 is needed")
else()
  file(WRITE ${BINARY}/cuda/bin/nvcc "#!/bin/sh\necho 'unsupported GNU version' >&2\nexit 3\n")
  set(reason "cannot build a program \\(3\\): unsupported GNU version")
endif()
file(CHMOD ${BINARY}/cuda/bin/nvcc PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
set(ENV{CUDA_HOME} ${BINARY}/cuda)

# Twice: what the first run keeps must not change the second one's mind.
foreach(run 1 2)
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${SOURCE} -B ${BINARY}/build -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${COMPILER}
      -DKG_CUDA=${KG_CUDA} -DKG_TESTS=OFF -DKG_BENCHMARKS=OFF -DKG_EXAMPLES=OFF
    RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  # CMake breaks the lines of an error.
  string(REGEX REPLACE "[ \n]+" " " words "${output}")
  if(NOT words MATCHES "cuda/bin/nvcc ${reason}")
    message(FATAL_ERROR "run ${run}: the output does not say \"${reason}\":\n${output}")
  endif()
  if(KG_CUDA STREQUAL AUTO AND NOT status EQUAL 0)
    message(FATAL_ERROR "run ${run}: AUTO fails (${status}):\n${output}")
  elseif(NOT KG_CUDA STREQUAL AUTO AND status EQUAL 0)
    message(FATAL_ERROR "run ${run}: ON passes:\n${output}")
  endif()
endforeach()
