# SPDX-License-Identifier: MIT
# What `cmake --install` puts where, the files by which CMake and pkg-config find it there, and the Debian package that
# `cpack` makes of it.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/kernelgrad)

set_target_properties(kernelgrad PROPERTIES VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
install(TARGETS kernelgrad EXPORT kernelgrad)
install(DIRECTORY lib/include/kernelgrad DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT kernelgrad NAMESPACE kernelgrad:: FILE kernelgradTargets.cmake DESTINATION ${package_dir})
configure_package_config_file(cmake/kernelgradConfig.cmake.in kernelgradConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(kernelgradConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/kernelgradConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/kernelgradConfigVersion.cmake
  DESTINATION ${package_dir}
)

# A program needs what a static library needs. A shared one brings it along.
set(pc_private .private)
set(pc_libs "")
if(NOT BUILD_SHARED_LIBS)
  set(pc_private "")
  list(TRANSFORM CMAKE_DL_LIBS PREPEND -l OUTPUT_VARIABLE pc_libs)
  list(APPEND pc_libs -pthread)
  if(KG_WITH_CUDA)
    list(APPEND pc_libs -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -lrt)
  endif()
  list(JOIN pc_libs " " pc_libs)
endif()
file(RELATIVE_PATH pc_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" pc_prefix ${pc_prefix})
configure_file(cmake/kernelgrad.pc.in kernelgrad.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/kernelgrad.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/libkernelgrad-dev RENAME copyright)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libkernelgrad-dev)
set(CPACK_PACKAGE_CONTACT "kernelgrad authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES OFF)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
# libfmt-dev for kernelgrad::training.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libhwy-dev, libstdc++-dev")
if(KG_EXAMPLES)
  string(APPEND CPACK_DEBIAN_PACKAGE_DEPENDS ", libfmt-dev")
endif()
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ${BUILD_SHARED_LIBS})
include(CPack)
