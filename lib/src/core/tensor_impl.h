// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "autograd/node.h"
#include "core/storage.h"
#include "kernelgrad/tensor.h"

namespace kg {

/// What a Tensor handle refers to.
struct Tensor::Impl {
  Shape shape;
  DType dtype;
  std::shared_ptr<Storage> storage;
  bool requires_grad = false;  ///< Set on leaves; a tensor with a grad_fn requires a gradient anyway.
  std::shared_ptr<Tensor::Impl> grad;
  std::shared_ptr<Node> grad_fn;  ///< The operation that computed this tensor, if it is part of a graph.

  /// grad, but for one that a recording left behind when it was refused: no step that ran has made that.
  std::shared_ptr<Tensor::Impl> present_grad() const {
    return grad && grad->storage->is_lost() ? nullptr : grad;
  }
};

/// Tensor::empty() without memory yet: for what an operation's kernel writes, which may keep it in a form.
/// Errors of shapes are the same, that there is no memory comes when the elements are asked for.
Tensor unwritten(Shape shape, TensorOptions options);

/// A tensor over existing memory: the same elements under a shape.
Tensor share_storage(const Tensor& tensor, Shape shape);

/// numel(), whose errors begin with the name of an operation. What is multiplied from extents goes through
/// here: a tensor without elements may have any extents beside the 0.
std::int64_t checked_numel(std::string_view op, const Shape& shape);

/// "float32 [128, 1, 28, 28] on cpu": how error messages speak of a tensor.
std::string described(const Shape& shape, TensorOptions options);
std::string described(const Tensor& tensor);

/// The elements as the kernels take them, plain: on whatever device, of a dtype that the caller has checked.
template <class T>
T* raw(const Tensor& tensor) {
  return tensor.defined() ? static_cast<T*>(tensor.impl()->storage->data()) : nullptr;
}

}  // namespace kg
