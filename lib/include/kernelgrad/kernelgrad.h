// SPDX-License-Identifier: MIT
#pragma once

/// Everything in kernelgrad.

#include "kernelgrad/autograd.h"
#include "kernelgrad/backend.h"
#include "kernelgrad/device.h"
#include "kernelgrad/dtype.h"
#include "kernelgrad/error.h"
#include "kernelgrad/graph.h"
#include "kernelgrad/io.h"
#include "kernelgrad/nn.h"
#include "kernelgrad/ops.h"
#include "kernelgrad/random.h"
#include "kernelgrad/state_dict.h"
#include "kernelgrad/tensor.h"
#include "kernelgrad/version.h"
