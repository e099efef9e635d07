# SPDX-License-Identifier: MIT
# kernelgrad_target(<target>): what every target of this project is compiled with.
function(kernelgrad_target target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  set(werror $<BOOL:${KG_WERROR}>)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;$<${werror}:-Werror>>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra;$<${werror}:-Werror=all-warnings;-Xcompiler=-Werror>>")
  if(KG_TESTS)
    # What a test reads afterwards: registers, stack and spills of every kernel.
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=-v>)
    set_target_properties(${target} PROPERTIES
      CUDA_COMPILER_LAUNCHER ${kernelgrad_SOURCE_DIR}/tests/kernels/cuda/keep_ptxas_report)
  endif()
  if(KG_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${KG_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
      -fno-unroll-loops -g1)
    target_link_options(${target} PUBLIC -fsanitize=${KG_SANITIZE})
  endif()
  if(KG_FUZZ AND NOT CMAKE_CURRENT_SOURCE_DIR MATCHES "^${kernelgrad_SOURCE_DIR}/tests")
    # libFuzzer wants to see what an input reaches, in all that is not a test.
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()
