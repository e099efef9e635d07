// SPDX-License-Identifier: MIT
#include "kernelgrad/version.h"

namespace kg {

std::string_view version() { return KG_VERSION; }

}  // namespace kg
