// SPDX-License-Identifier: MIT
#pragma once

#include "dispatch/kernels.h"

namespace kg::testing {

/// Our own table for the device.
template <template <class> class Kernels, class T>
const Kernels<T>& kernels_on(Device device) {
  return dispatch::table_of<Kernels, T>(Backend::native, device);
}

}  // namespace kg::testing
