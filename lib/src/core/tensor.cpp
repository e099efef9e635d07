// SPDX-License-Identifier: MIT
#include "kernelgrad/tensor.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <type_traits>

#include "autograd/node.h"
#include "core/capture.h"
#include "core/tensor_impl.h"
#include "dispatch/types.h"
#include "ops/in_place.h"

namespace kg {

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

namespace {

[[noreturn]] void too_large(std::string_view op, const Shape& shape) {
  throw Error(std::string(op) + ": shape " + to_string(shape) + " has more elements than memory can hold");
}

}  // namespace

std::int64_t checked_numel(std::string_view op, const Shape& shape) {
  for (const std::int64_t extent : shape)
    if (extent < 0) throw Error(std::string(op) + ": shape " + to_string(shape) + " has a negative extent");
  // Before any product: those of the other extents may be too large.
  if (std::ranges::find(shape, 0) != shape.end()) return 0;
  std::int64_t count = 1;
  for (const std::int64_t extent : shape)
    if (__builtin_mul_overflow(count, extent, &count)) too_large(op, shape);
  return count;
}

std::int64_t numel(const Shape& shape) { return checked_numel("tensor", shape); }

namespace {

std::size_t bytes_of(const Shape& shape, DType dtype) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(numel(shape)), size_of(dtype), &bytes))
    too_large("tensor", shape);
  return bytes;
}

/// static_cast, whose result C++ leaves undefined where an integer type cannot hold a floating-point number.
template <class To, class From>
To cast(From value, const char* where) {
  if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    const From whole = std::trunc(value);
    if (!(whole >= static_cast<From>(std::numeric_limits<To>::min()) &&
          whole < std::ldexp(From(1), std::numeric_limits<To>::digits)))
      throw Error(std::string(where) + ": " + std::to_string(value) + " does not fit into " +
                  std::string(name_of(dtype_of<To>())));
  }
  return static_cast<To>(value);
}

}  // namespace

namespace {

/// Takes the memory too, where `at_once`.
Tensor new_tensor(Shape shape, TensorOptions options, bool at_once) {
  const std::size_t bytes = bytes_of(shape, options.dtype);
  auto impl = std::make_shared<Tensor::Impl>();
  impl->shape = std::move(shape);
  impl->dtype = options.dtype;
  try {
    impl->storage = std::make_shared<Storage>(bytes, options.device);
    if (at_once) static_cast<void>(impl->storage->data());
  } catch (const std::bad_alloc&) {
    throw Error("tensor: no memory for shape " + to_string(impl->shape) + " (" + std::to_string(bytes) +
                " bytes)");
  }
  return Tensor(std::move(impl));
}

}  // namespace

Tensor Tensor::empty(Shape shape, TensorOptions options) try {
  return new_tensor(std::move(shape), options, true);
} catch (const std::bad_alloc&) {
  no_memory("tensor");
}

Tensor unwritten(Shape shape, TensorOptions options) { return new_tensor(std::move(shape), options, false); }

Tensor Tensor::zeros(Shape shape, TensorOptions options) { return full(std::move(shape), 0, options); }
Tensor Tensor::ones(Shape shape, TensorOptions options) { return full(std::move(shape), 1, options); }

Tensor Tensor::full(Shape shape, double value, TensorOptions options) try {
  Tensor result = empty(std::move(shape), options);
  if (is_floating_point(options.dtype)) {
    fill(result, value);
    return result;
  }
  visit_integer(options.dtype, [&]<class T>(Type<T>) {
    const std::vector<T> values(static_cast<std::size_t>(result.numel()), cast<T>(value, "Tensor::full"));
    functions_of(options.device).copy_from_host(raw<T>(result), values.data(), values.size() * sizeof(T));
  });
  return result;
} catch (const std::bad_alloc&) {
  no_memory("Tensor::full");
}

Tensor Tensor::from_bytes(std::span<const std::byte> bytes, const Shape& shape, TensorOptions options) try {
  if (bytes.size() != bytes_of(shape, options.dtype))
    throw Error("Tensor::from: " + std::to_string(bytes.size() / size_of(options.dtype)) +
                " values given, shape " + kg::to_string(shape) + " expects " +
                std::to_string(kg::numel(shape)));
  Tensor result = empty(shape, options);
  functions_of(options.device).copy_from_host(result.impl_->storage->data(), bytes.data(), bytes.size());
  return result;
} catch (const std::bad_alloc&) {
  no_memory("Tensor::from");
}

namespace {

const Tensor::Impl& checked(const Tensor::Impl* impl) {
  if (impl == nullptr) throw Error("tensor: used while undefined");
  return *impl;
}

}  // namespace

const Shape& Tensor::shape() const { return checked(impl()).shape; }
int Tensor::dim() const { return static_cast<int>(shape().size()); }

std::int64_t Tensor::size(int dimension) const {
  const int index = dimension < 0 ? dimension + dim() : dimension;
  if (index < 0 || index >= dim())
    throw Error("Tensor::size: dimension " + std::to_string(dimension) + " of a tensor of shape " +
                to_string(shape()));
  return shape()[static_cast<std::size_t>(index)];
}

std::int64_t Tensor::numel() const { return kg::numel(shape()); }
DType Tensor::dtype() const { return checked(impl()).dtype; }
Device Tensor::device() const { return checked(impl()).storage->device(); }

void* Tensor::address(DType wanted) const try {
  if (dtype() != wanted)
    throw Error("Tensor::data: asked for " + std::string(name_of(wanted)) + ", the tensor is " +
                std::string(name_of(dtype())));
  return impl_->storage->data();
} catch (const std::bad_alloc&) {
  no_memory("Tensor::data");
}

void* Tensor::host_data(DType wanted) const {
  void* const elements = address(wanted);
  if (!device().is_cpu())
    throw Error("Tensor::data: the tensor is on " + device().name() +
                "; copy it with to(kg::Device::cpu()) first");
  return elements;
}

std::span<const std::byte> Tensor::bytes() const {
  return {static_cast<const std::byte*>(host_data(dtype())), impl_->storage->bytes()};
}

void Tensor::copy_to_host(DType wanted, void* destination) const {
  if (dtype() != wanted)
    throw Error("Tensor::to_vector: asked for " + std::string(name_of(wanted)) + ", the tensor is " +
                std::string(name_of(dtype())));
  functions_of(device()).copy_to_host(destination, impl_->storage->data(), impl_->storage->bytes());
}

double Tensor::item() const try {
  if (numel() != 1)
    throw Error("Tensor::item: the tensor has shape " + to_string(shape()) + ", expected one element");
  return visit_any(dtype(), [&]<class T>(Type<T>) { return static_cast<double>(to_vector<T>()[0]); });
} catch (const std::bad_alloc&) {
  no_memory("Tensor::item");
}

Tensor Tensor::to(Device target) const try {
  const Device from = device();
  if (from == target) return *this;
  Tensor result = empty(shape(), {.dtype = dtype(), .device = target});
  result.copy_from(*this);
  return record("to", result, {*this}, [from](const BackwardCall& call) -> std::vector<Tensor> {
    return {call.grad_output.to(from)};
  });
} catch (const std::bad_alloc&) {
  no_memory("Tensor::to");
}

Tensor Tensor::to(DType target) const try {
  const DType from = dtype();
  if (from == target) return *this;
  Tensor converted = empty(shape(), {.dtype = target});
  visit_any(from, [&]<class From>(Type<From>) {
    visit_any(target, [&]<class To>(Type<To>) {
      std::ranges::transform(to_vector<From>(), converted.data<To>(),
                             [](From value) { return cast<To>(value, "Tensor::to"); });
    });
  });
  Tensor result = converted.to(device());
  if (!is_floating_point(target)) return result;
  return record("to", result, {*this}, [from](const BackwardCall& call) -> std::vector<Tensor> {
    return {call.grad_output.to(from)};
  });
} catch (const std::bad_alloc&) {
  no_memory("Tensor::to");
}

Tensor Tensor::clone() const try {
  Tensor copy = empty(shape(), {.dtype = dtype(), .device = device()});
  copy.copy_from(*this);
  return copy;
} catch (const std::bad_alloc&) {
  no_memory("Tensor::clone");
}

Tensor Tensor::detach() const try { return share_storage(*this, shape()); } catch (const std::bad_alloc&) {
  no_memory("Tensor::detach");
}

void Tensor::copy_from(const Tensor& source) try {
  if (shape() != source.shape() || dtype() != source.dtype())
    throw Error("Tensor::copy_from: the source is " + std::string(name_of(source.dtype())) + " " +
                to_string(source.shape()) + ", expected " + std::string(name_of(dtype())) + " " +
                to_string(shape()));
  bump_version();
  void* to = impl_->storage->data();
  const void* from = source.impl_->storage->data();
  const std::size_t bytes = impl_->storage->bytes();
  if (device() == source.device())
    functions_of(device()).copy_within(to, from, bytes);
  else if (device().is_cuda())
    functions_of(device()).copy_from_host(to, from, bytes);
  else
    functions_of(source.device()).copy_to_host(to, from, bytes);
} catch (const std::bad_alloc&) {
  no_memory("Tensor::copy_from");
}

std::uint64_t Tensor::version() const { return checked(impl()).storage->version(); }

void Tensor::bump_version() {
  const std::shared_ptr<Storage>& storage = checked(impl()).storage;
  storage->bump_version();
  if (Capture* capture = Capture::active()) capture->note_write(storage);
}

void Tensor::set_data(const Tensor& source) try {
  if (shape() != source.shape())
    throw Error("Tensor::set_data: the source has shape " + to_string(source.shape()) + ", expected " +
                to_string(shape()));
  if (!is_leaf()) throw Error("Tensor::set_data: the tensor is the result of " + std::string(grad_fn_name()));
  impl_->dtype = source.dtype();
  impl_->storage = source.impl_->storage;
  impl_->grad = nullptr;
} catch (const std::bad_alloc&) {
  no_memory("Tensor::set_data");
}

Tensor share_storage(const Tensor& tensor, Shape shape) {
  auto impl = std::make_shared<Tensor::Impl>();
  impl->shape = std::move(shape);
  impl->dtype = tensor.dtype();
  impl->storage = tensor.impl()->storage;
  return Tensor(std::move(impl));
}

std::string described(const Shape& shape, TensorOptions options) {
  return std::string(name_of(options.dtype)) + " " + to_string(shape) + " on " + options.device.name();
}

std::string described(const Tensor& tensor) { return described(tensor.shape(), tensor.options()); }

bool Tensor::requires_grad() const { return checked(impl()).requires_grad || impl_->grad_fn != nullptr; }

Tensor& Tensor::set_requires_grad(bool requires_grad) {
  if (!is_leaf())
    throw Error("Tensor::set_requires_grad: the tensor is the result of " + std::string(grad_fn_name()) +
                "; only leaves can be marked");
  if (requires_grad && !is_floating_point(dtype()))
    throw Error("Tensor::set_requires_grad: the tensor is " + std::string(name_of(dtype())) +
                "; only floating-point tensors have gradients");
  impl_->requires_grad = requires_grad;
  return *this;
}

bool Tensor::is_leaf() const { return checked(impl()).grad_fn == nullptr; }

Tensor Tensor::grad() const { return Tensor(checked(impl()).present_grad()); }

void Tensor::set_grad(Tensor grad) {
  checked(impl());
  if (grad.defined() && (grad.shape() != shape() || grad.dtype() != dtype() || grad.device() != device()))
    throw Error("Tensor::set_grad: the gradient is " + described(grad) + ", expected " + described(*this));
  impl_->grad = std::move(grad.impl_);
}

std::string_view Tensor::grad_fn_name() const {
  return is_leaf() ? std::string_view() : std::string_view(impl_->grad_fn->name);
}

}  // namespace kg
