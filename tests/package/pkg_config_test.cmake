# SPDX-License-Identifier: MIT
# Compiles and runs SOURCE with nothing but what pkg-config says of the library that is installed below PREFIX.
set(ENV{PKG_CONFIG_PATH} ${PREFIX}/pkgconfig)
set(ENV{LD_LIBRARY_PATH} ${PREFIX})

# pkg_config(<variable> <argument>...): what it prints, as a list.
function(pkg_config variable)
  execute_process(COMMAND ${PKG_CONFIG} ${ARGN} kernelgrad
    RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE errors OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "pkg-config fails (${status}): ${errors}")
  endif()
  separate_arguments(output UNIX_COMMAND "${output}")
  set(${variable} ${output} PARENT_SCOPE)
endfunction()

pkg_config(version --modversion)
if(NOT version STREQUAL VERSION)
  message(FATAL_ERROR "version ${version}, expected ${VERSION}")
endif()
foreach(static "" --static)
  pkg_config(compile --cflags)
  pkg_config(link --libs ${static})
  execute_process(COMMAND ${COMPILER} -std=c++20 ${compile} ${SOURCE} -o ${PROGRAM} ${link} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "cannot be compiled with ${compile} ${link}")
  endif()
  execute_process(COMMAND ${PROGRAM} RESULT_VARIABLE status OUTPUT_QUIET)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "the program fails (${status})")
  endif()
endforeach()
