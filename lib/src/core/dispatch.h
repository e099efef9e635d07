#pragma once

#include <new>
#include <string>
#include <string_view>

#include "backend/kernels.h"
#include "core/no_memory.h"
#include "kernelgrad/tensor.h"

namespace kg {

/// A type as a value, to hand to a lambda: visit_floating(x, "relu", [&]<class T>(Type<T>) { ... });
template <class T>
struct Type {};

/// Calls `visitor` with the C++ type of a floating-point tensor; throws Error naming the operation for any
/// other, and where the visitor finds no memory.
template <class Visitor>
decltype(auto) visit_floating(const Tensor& tensor, std::string_view op, Visitor&& visitor) try {
  switch (tensor.dtype()) {
    case DType::float32:
      return visitor(Type<float>());
    case DType::float64:
      return visitor(Type<double>());
    default:
      throw Error(std::string(op) + ": the input is " + std::string(name_of(tensor.dtype())) +
                  ", expected float32 or float64");
  }
} catch (const std::bad_alloc&) {
  no_memory(op);
}

template <class Visitor>
decltype(auto) visit_integer(DType dtype, Visitor&& visitor) {
  switch (dtype) {
    case DType::uint8:
      return visitor(Type<std::uint8_t>());
    case DType::int32:
      return visitor(Type<std::int32_t>());
    case DType::int64:
      return visitor(Type<std::int64_t>());
    default:
      throw Error("visit_integer: " + std::string(name_of(dtype)) + " is no integer type");
  }
}

template <class Visitor>
decltype(auto) visit_any(DType dtype, Visitor&& visitor) {
  switch (dtype) {
    case DType::float32:
      return visitor(Type<float>());
    case DType::float64:
      return visitor(Type<double>());
    default:
      return visit_integer(dtype, visitor);
  }
}

/// The kernels of an operation for element type T on a device: KG_KERNELS(conv2d, float,
/// x.device()).forward(...). A macro because a namespace, which is what tells the backends apart, cannot be a
/// template argument.
#define KG_KERNELS(op, T, on) ((on).is_cuda() ? ::kg::kernels::cuda::op<T>() : ::kg::kernels::cpu::op<T>())

/// As KG_KERNELS, for an operation that cuDNN or cuBLAS offers too: on CUDA the policy decides.
#define KG_CHOSEN_KERNELS(op, T, on) ((on).is_cuda() ? ::kg::backend::op<T>() : ::kg::kernels::cpu::op<T>())

}  // namespace kg
