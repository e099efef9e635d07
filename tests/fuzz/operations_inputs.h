// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <vector>

#include "fuzz/tape_operations.h"
#include "kernelgrad/kernelgrad.h"

/// What operations_fuzz.cpp makes of an input's bytes: tensors and options for the operations.
namespace kg::fuzz {

/// Of a tensor that an input makes.
inline constexpr std::int64_t max_elements = 256;

/// Strides, paddings and such.
inline constexpr std::int64_t largest_option = std::int64_t{1} << 30;

/// The input. Zeros follow its end.
class Bytes {
 public:
  explicit Bytes(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  std::uint8_t next() {
    if (rest_.empty()) return 0;
    const std::uint8_t byte = rest_.front();
    rest_ = rest_.subspan(1);
    return byte;
  }
  std::size_t below(std::size_t end) { return next() % end; }
  bool one_in(std::size_t cases) { return below(cases) == cases - 1; }
  template <class T, std::size_t size>
  T one_of(const T (&choices)[size]) {
    return choices[below(size)];
  }

 private:
  std::span<const std::uint8_t> rest_;
};

/// A tensor of the library, and its elements on the tape: none if they are integers.
struct Value {
  Tensor tensor = {};
  Indices numbers = {};

  bool is_floating() const { return tensor.defined() && is_floating_point(tensor.dtype()); }
  bool has_rank(int rank) const { return tensor.defined() && tensor.dim() == rank; }
  bool has_shape(const Shape& shape) const { return tensor.defined() && tensor.shape() == shape; }
  std::int64_t size(int dimension) const { return tensor.size(dimension); }
};

/// Whether the others are floating-point tensors of the same type as the first.
inline bool agree(const Value& first, std::initializer_list<const Value*> others) {
  return first.is_floating() && std::ranges::all_of(others, [&](const Value* other) {
           return other->is_floating() && other->tensor.dtype() == first.tensor.dtype();
         });
}

inline bool lies_in(std::int64_t value, std::int64_t least, std::int64_t most) {
  return value >= least && value <= most;
}
inline bool lies_in(Pair value, std::int64_t least, std::int64_t most) {
  return lies_in(value.h, least, most) && lies_in(value.w, least, most);
}

/// The product of the extents from a dimension on.
inline std::int64_t product(const Shape& shape, std::size_t first = 0) {
  std::int64_t result = 1;
  for (std::size_t d = first; d < shape.size(); ++d) result *= shape[d];
  return result;
}

inline std::vector<double> doubles(const Tensor& x) {
  return x.detach().to(DType::float64).to_vector<double>();
}

/// The tensors of a program, and where they come from.
class Inputs {
 public:
  explicit Inputs(std::span<const std::uint8_t> bytes)
      : bytes_(bytes), dtype_(bytes_.below(2) == 0 ? DType::float64 : DType::float32) {}

 protected:
  void set_precision(DType dtype) {
    tape_.set_precision(dtype == DType::float32 ? precision_of<float>() : precision_of<double>());
  }

  std::vector<double> any_elements(std::int64_t count) {
    const std::size_t style = bytes_.below(5);
    const double scale = style == 4 ? std::ldexp(1, static_cast<int>(bytes_.below(41)) - 20) : 1;
    RandomStream random(bytes_.next(), RandomPurpose::user);
    std::vector<double> elements(static_cast<std::size_t>(count));
    for (double& element : elements) {
      const double uniform = random.uniform(-1, 1);
      if (style == 0) element = uniform;
      if (style == 1) element = std::floor(2.5 * uniform + 0.5);  // equal ones
      if (style == 2) element = 4 * uniform;
      if (style == 3) element = 3 + 1e-3 * uniform;  // their variance is small
      if (style == 4) element = scale * uniform;
    }
    return elements;
  }

  Value leaf(const Shape& shape, DType dtype, const std::vector<double>& elements, bool with_gradient) {
    Value value{Tensor::from(elements, shape).to(dtype), {}};
    if (with_gradient) value.tensor.set_requires_grad();
    set_precision(dtype);
    for (const double element : doubles(value.tensor))
      value.numbers.push_back(tape_.constant(element, with_gradient));
    leaves_.push_back(value);
    return value;
  }
  Value leaf(const Shape& shape, DType dtype) {
    const bool with_gradient = !bytes_.one_in(8);
    values_.push_back(leaf(shape, dtype, any_elements(product(shape)), with_gradient));
    return values_.back();
  }

  Value integers(const Shape& shape, std::int64_t end) {
    std::vector<std::int64_t> elements(static_cast<std::size_t>(product(shape)));
    for (std::int64_t& element : elements) element = bytes_.next() % std::max<std::int64_t>(end, 1);
    if (!elements.empty() && bytes_.one_in(32)) elements.back() = bytes_.one_of({std::int64_t{-1}, end});
    return {Tensor::from(elements, shape), {}};
  }

  Shape any_shape(int rank) {
    Shape shape;
    for (int d = 0; d < rank; ++d) {
      const std::int64_t extent =
          bytes_.one_of<std::int64_t>({1, 2, 3, 4, 5, 6, 7, 8, 2, 3, 9, 1, 4, 17, 33, 0});
      shape.push_back(std::min(extent, max_elements / std::max<std::int64_t>(product(shape), 1)));
    }
    return shape;
  }

  /// What hardly any operation takes.
  Value odd_one() {
    switch (bytes_.below(4)) {
      case 0:
        return {};
      case 1:
        return integers(any_shape(2), 3);
      case 2:
        return leaf(any_shape(2), dtype_ == DType::float32 ? DType::float64 : DType::float32);
      default:
        return leaf(any_shape(static_cast<int>(bytes_.below(6))), dtype_);
    }
  }
  Value any_value() { return values_.empty() ? odd_one() : values_[bytes_.below(values_.size())]; }

  /// Mostly of such a rank, and mostly the result of a step.
  Value input(int least_rank, int most_rank) {
    const std::size_t choice = bytes_.below(16);
    if (choice == 15) return odd_one();
    if (choice == 14) return any_value();
    if (choice < 12)
      for (std::size_t i = values_.size(); i-- > 0;)
        if (values_[i].is_floating() && lies_in(values_[i].tensor.dim(), least_rank, most_rank))
          return values_[i];
    const std::size_t ranks = static_cast<std::size_t>(most_rank - least_rank + 1);
    return leaf(any_shape(least_rank + static_cast<int>(bytes_.below(ranks))), dtype_);
  }

  /// Mostly of that shape, and fit for the other.
  Value parameter(const Shape& shape, const Value& other) {
    const std::size_t choice = bytes_.below(16);
    if (choice == 15) return odd_one();
    if (choice == 14) return any_value();
    const DType dtype = other.is_floating() ? other.tensor.dtype() : dtype_;
    if (choice > 10)
      for (const Value& value : values_)
        if (value.has_shape(shape) && value.tensor.dtype() == dtype) return value;
    return leaf(shape, dtype);
  }
  Value optional_parameter(const Shape& shape, const Value& other) {
    return bytes_.one_in(3) ? Value{} : parameter(shape, other);
  }

  /// Its extent, if there is such a dimension.
  static std::int64_t size_or(std::int64_t otherwise, const Value& x, int dimension) {
    return x.tensor.defined() && x.tensor.dim() > dimension ? x.size(dimension) : otherwise;
  }

  std::int64_t option(std::int64_t least) {
    static constexpr std::int64_t odd[] = {-1,
                                           4,
                                           5,
                                           7,
                                           64,
                                           3000,
                                           largest_option,
                                           largest_option + 1,
                                           std::numeric_limits<std::int64_t>::min(),
                                           std::numeric_limits<std::int64_t>::max()};
    const std::uint8_t byte = bytes_.next();
    return byte < 240 ? least + byte % 3 : odd[byte % std::size(odd)];
  }
  Pair pair(std::int64_t least) {
    const std::int64_t h = option(least), w = option(least);
    return {h, w};
  }

  double number() {
    return bytes_.one_of({0.5, 1.0, 0.0, 0.1, 1e-5, -1.0, -2.5, 1e-300, 1e300, 3.0,
                          std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()});
  }
  double probability() { return bytes_.one_of({0.5, 0.0, 0.25, 0.9, 1.0, -0.5, 1.25}); }

  Bytes bytes_;
  DType dtype_;  ///< of most tensors
  Tape tape_;
  /// What operations are given and what they return, and the leaves among it.
  std::vector<Value> values_, leaves_;
};

}  // namespace kg::fuzz
