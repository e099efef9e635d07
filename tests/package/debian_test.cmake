# SPDX-License-Identifier: MIT
# Packs the library as a Debian package, and looks at what is said of it and what is in it.
file(REMOVE_RECURSE ${OUT})
execute_process(COMMAND ${CPACK} -G DEB -B ${OUT} --config ${BUILD}/CPackConfig.cmake
  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
file(GLOB packages ${OUT}/*.deb)
list(LENGTH packages count)
if(NOT status EQUAL 0 OR NOT count EQUAL 1)
  message(FATAL_ERROR "cpack fails (${status}), ${count} packages:\n${output}")
endif()

execute_process(COMMAND ${DPKG_DEB} --info ${packages} OUTPUT_VARIABLE info)
foreach(line "Package: libkernelgrad-dev" "Version: ${VERSION}" "Section: libdevel" "Depends: libhwy-dev, libstdc\\+\\+-dev"
    "Maintainer: kernelgrad authors" "Description: [^\n]*deep-learning")
  if(NOT info MATCHES "${line}")
    message(FATAL_ERROR "\"${line}\" is not in:\n${info}")
  endif()
endforeach()

execute_process(COMMAND ${DPKG_DEB} --contents ${packages} OUTPUT_VARIABLE contents)
string(REPLACE "\n" ";" lines "${contents}")
foreach(file include/kernelgrad/kernelgrad.h include/kernelgrad/ops.h libkernelgrad.a cmake/kernelgrad/kernelgradConfig.cmake
    cmake/kernelgrad/kernelgradTargets.cmake pkgconfig/kernelgrad.pc share/doc/libkernelgrad-dev/copyright)
  if(NOT contents MATCHES " \\./usr/[^\n]*${file}\n")
    message(FATAL_ERROR "${file} is not in:\n${contents}")
  endif()
endforeach()
# Root's, below /usr, and nothing of the tests or examples.
foreach(line ${lines})
  if(NOT line MATCHES "^[-d]r[-w]x?[^ ]* root/root .* \\./(usr/.*)?$" OR line MATCHES "catch|mnist|custom_op")
    message(FATAL_ERROR "unexpected in the package: ${line}")
  endif()
endforeach()
