# SPDX-License-Identifier: MIT
# kernelgrad_target(<target>): what every target of this project is compiled with.
function(kernelgrad_target target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic $<$<BOOL:${KG_WERROR}>:-Werror>)
  if(KG_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${KG_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1)
    target_link_options(${target} PUBLIC -fsanitize=${KG_SANITIZE})
  endif()
endfunction()
