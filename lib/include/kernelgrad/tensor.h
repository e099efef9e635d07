// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernelgrad/device.h"
#include "kernelgrad/dtype.h"
#include "kernelgrad/error.h"
#include "kernelgrad/export.h"

namespace KG_API kg {

/// Extents of a tensor's dimensions, outermost first. Images are [batch, channels, height, width].
using Shape = std::vector<std::int64_t>;

/// "[128, 1, 28, 28]"
std::string to_string(const Shape& shape);
/// The product of the extents; 1 for the shape of a scalar, [], and 0 if any extent is 0, however large the
/// others. Throws Error on a negative extent, and where memory could not hold so many elements.
std::int64_t numel(const Shape& shape);

struct TensorOptions {
  DType dtype = DType::float32;
  Device device = {};
};

/// A contiguous, row-major array of numbers on a device, with its place in the graph of differentiable
/// operations.
///
/// A Tensor is a handle: copies refer to the same elements and the same gradient; clone() copies the
/// elements. A default-constructed Tensor is undefined and stands for "none" where an argument is optional (a
/// missing bias).
class Tensor {
 public:
  Tensor() = default;

  /// Elements unspecified.
  static Tensor empty(Shape shape, TensorOptions options = {});
  /// full() of 0, and of 1.
  static Tensor zeros(Shape shape, TensorOptions options = {});
  static Tensor ones(Shape shape, TensorOptions options = {});
  /// Every element is `value`, without its fraction if they are integers. Throws Error if they cannot hold
  /// it.
  static Tensor full(Shape shape, double value, TensorOptions options = {});
  /// A copy of `values` with the given shape, of the values' type. Throws Error if the counts differ.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, Device device = {}) {
    return from_bytes(std::as_bytes(values), shape, {.dtype = dtype_of<T>(), .device = device});
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, Device device = {}) {
    return from(std::span<const T>(values), shape, device);
  }
  /// As from(), of raw elements. Throws Error if the size is not that of the shape.
  static Tensor from_bytes(std::span<const std::byte> bytes, const Shape& shape, TensorOptions options);

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const;
  /// Number of dimensions.
  int dim() const;
  /// Extent of a dimension; a negative one counts from the last. Throws Error if there is no such dimension.
  std::int64_t size(int dimension) const;
  std::int64_t numel() const;
  DType dtype() const;
  Device device() const;
  /// dtype() and device(): what it takes to make another tensor like this one.
  TensorOptions options() const { return {.dtype = dtype(), .device = device()}; }

  /// The elements, in row-major order. Throws Error if T is not the tensor's dtype or the memory is not the
  /// CPU's.
  ///
  /// Reading through the pointer is always fine, and so is writing into a tensor that no operation has seen
  /// yet. A write into another must be told with bump_version(): an operation may have saved the elements for
  /// its gradient, which without a word would be silently that of the new values. (data() does not tell by
  /// itself: then a mere read through a tensor that is not const would be an error.) The same goes for span()
  /// and device_data().
  template <class T>
  T* data() {
    return static_cast<T*>(host_data(dtype_of<T>()));
  }
  template <class T>
  const T* data() const {
    return static_cast<const T*>(host_data(dtype_of<T>()));
  }
  /// data() as a range.
  template <class T>
  std::span<T> span() {
    return {data<T>(), static_cast<std::size_t>(numel())};
  }
  template <class T>
  std::span<const T> span() const {
    return {data<T>(), static_cast<std::size_t>(numel())};
  }
  /// The address of the elements in the memory of device(), for kernels of one's own: not for the host to
  /// read, unless that is the CPU. Throws Error if T is not the tensor's dtype.
  template <class T>
  T* device_data() {
    return static_cast<T*>(address(dtype_of<T>()));
  }
  template <class T>
  const T* device_data() const {
    return static_cast<const T*>(address(dtype_of<T>()));
  }
  /// A copy of the elements, from any device. Throws Error if T is not the tensor's dtype.
  template <class T>
  std::vector<T> to_vector() const {
    try {
      std::vector<T> values(static_cast<std::size_t>(numel()));
      copy_to_host(dtype_of<T>(), values.data());
      return values;
    } catch (const std::bad_alloc&) {
      no_memory("Tensor::to_vector");
    }
  }
  /// The elements as bytes. Throws Error if the memory is not the CPU's.
  std::span<const std::byte> bytes() const;
  /// The value of a tensor with one element, converted to double. Throws Error if there are more or fewer.
  double item() const;

  /// This tensor if it is on the device already, otherwise a copy there. Differentiable: the gradient goes
  /// back to where this tensor is.
  Tensor to(Device device) const;
  /// This tensor if it has the dtype already, otherwise a converted copy. Between floating-point types
  /// differentiable, the gradient being converted back; a copy of an integer type is outside the graph.
  /// Throws Error if an integer type cannot hold a floating-point element. Conversion runs on the host: meant
  /// for setting things up, not for the inner loop.
  Tensor to(DType dtype) const;
  /// A copy of the elements, outside the graph, not requiring a gradient.
  Tensor clone() const;
  /// The same elements, outside the graph, not requiring a gradient.
  Tensor detach() const;
  /// Overwrites the elements with those of `source`, which must have the same shape and dtype. Not recorded
  /// in the graph; bumps the version.
  void copy_from(const Tensor& source);

  /// How often the elements have been overwritten in place. All tensors of the same elements, such as
  /// detach() and reshape() make, share the count. By it an operation's gradient notices that what it saved
  /// in forward is no more (SavedTensor).
  std::uint64_t version() const;
  /// Says that the elements have been, or are about to be, overwritten through a pointer. What overwrites
  /// elements in the library does so itself.
  void bump_version();

  /// The same elements under another shape; one extent may be -1, to be inferred. Differentiable.
  Tensor reshape(Shape shape) const;

  /// True if gradients flow through this tensor.
  bool requires_grad() const;
  /// Marks a leaf (a tensor no differentiable operation computed) as one whose gradient backward()
  /// accumulates. Throws Error on an integer tensor and on one that is not a leaf.
  Tensor& set_requires_grad(bool requires_grad = true);
  /// True if no differentiable operation computed this tensor.
  bool is_leaf() const;
  /// The accumulated gradient of a leaf; undefined before the first backward().
  Tensor grad() const;
  /// Replaces the gradient; an undefined tensor clears it.
  void set_grad(Tensor grad);
  /// Name of the operation that computed this tensor, empty for a leaf.
  std::string_view grad_fn_name() const;

  /// Adds the gradient of this scalar with respect to every leaf that requires one to that leaf's grad(), and
  /// frees the graph behind it unless retain_graph. Throws Error if this tensor has more than one element, if
  /// no gradient flows through it, and if its graph has been freed by an earlier call.
  void backward(bool retain_graph = false) const;
  /// The same for a tensor of any shape, given the gradient of some scalar with respect to it (same shape and
  /// dtype).
  void backward(const Tensor& gradient, bool retain_graph = false) const;

  /// Makes this handle, and every copy of it, refer to the elements of `source` from now on, whatever its
  /// device and dtype: how a module moves its parameters while an optimizer holds them. The shape must be the
  /// same. Drops the gradient.
  void set_data(const Tensor& source);

  /// What the implementation of an operation needs; not for users of tensors.
  struct Impl;
  explicit Tensor(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  Impl* impl() const { return impl_.get(); }
  const std::shared_ptr<Impl>& shared_impl() const { return impl_; }

 private:
  void* host_data(DType dtype) const;
  void* address(DType dtype) const;
  void copy_to_host(DType dtype, void* destination) const;

  std::shared_ptr<Impl> impl_;
};

}  // namespace kg
