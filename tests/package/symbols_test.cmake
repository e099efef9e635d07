# SPDX-License-Identifier: MIT
# What can be seen from outside of the shared LIBRARY: what public headers declare, not the kernels, not what the library
# is made with.
execute_process(COMMAND ${NM} -DC --defined-only ${LIBRARY} RESULT_VARIABLE status OUTPUT_VARIABLE output)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "nm fails (${status})")
endif()
foreach(wanted "kg::conv2d(" "kg::nn::Conv2d::" "kg::Tensor::backward(" "typeinfo for kg::Error" "kg::version(" "kg::gradcheck(")
  string(FIND "${output}" "${wanted}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "not exported: ${wanted}")
  endif()
endforeach()
string(REPLACE "\n" ";" lines "${output}")
set(unwanted ${lines})
list(FILTER unwanted INCLUDE REGEX "[0-9a-f]+ . (kg::(kernels|backend|dispatch|check)::|nlohmann|hwy::|r123)")
if(unwanted)
  list(JOIN unwanted "\n" unwanted)
  message(FATAL_ERROR "the library's insides can be seen:\n${unwanted}")
endif()

# A declaration outside of such a namespace could not be linked with.
file(GLOB_RECURSE headers ${HEADERS}/*.h)
foreach(header ${headers})
  file(STRINGS ${header} lines REGEX "^namespace kg")
  if(lines)
    message(FATAL_ERROR "${header}: expected 'namespace KG_API kg {', found: ${lines}")
  endif()
endforeach()
