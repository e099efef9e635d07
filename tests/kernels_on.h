// SPDX-License-Identifier: MIT
#pragma once

#include "dispatch/kernels.h"

namespace kg::testing {

/// Our own table for the device.
template <class Kernels>
const Kernels& kernels_on(Device device) {
  return dispatch::table_of<Kernels>(device.is_cuda() ? dispatch::Implementation::cuda
                                                      : dispatch::Implementation::cpu);
}

}  // namespace kg::testing
