// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

/// Scalars in double precision that remember what they were computed from: the plain reference of
/// operations_fuzz.cpp. Shares no code with the library.
///
/// Beside every number, and every gradient, stands how far off a computation may be that rounds to the
/// library's type. The bound follows from the computation itself: each rounding adds its share, each
/// operation passes on what its operands have. So it is as wide as the conditioning makes it and no wider.
/// Where a comparison (relu, maximum) is closer than the bound, the gradient may go either way, and the bound
/// says so. A bound that is not finite says nothing.
namespace kg::fuzz {

/// What a type of floating-point numbers can do.
struct Precision {
  double unit;     ///< relative error of a rounding, that of the reference's own in double included
  double tiny;     ///< distance of the numbers next to 0
  double largest;  ///< beyond it there is infinity
};

template <class T>
constexpr Precision precision_of() {
  return {.unit = std::numeric_limits<T>::epsilon() / 2 + std::numeric_limits<double>::epsilon() / 2,
          .tiny = std::numeric_limits<T>::denorm_min(),
          .largest = std::numeric_limits<T>::max() / 2};
}

/// The error of what no bound is known for.
inline constexpr double unknown = std::numeric_limits<double>::infinity();

/// A value and how far off the library's may be.
struct Bounded {
  double value = 0, error = 0;

  bool allows(double other) const { return !std::isfinite(error) || std::abs(other - value) <= error; }
};

class Tape {
 public:
  using Index = std::size_t;

  /// The type of the numbers to come.
  void set_precision(const Precision& precision) { precision_ = precision; }
  const Precision& precision() const { return precision_; }
  /// Whether the numbers to come have gradients, as far as their operands have.
  void set_recording(bool recording) { recording_ = recording; }
  bool is_recording() const { return recording_; }
  std::size_t edge_count() const { return edges_.size(); }
  /// False where one of the numbers has no bound: it may be infinite or NaN.
  bool is_finite() const { return is_finite_; }
  const Bounded& operator[](Index i) const { return numbers_[i].bounded; }

  /// A number that the library has exactly.
  Index constant(double value, bool has_gradient = false) { return push({value, 0}, has_gradient); }
  /// The same in the present precision.
  Index rounded(Index x) {
    connect(x, 1, 0);
    const Bounded& b = numbers_[x].bounded;
    return push({b.value, b.error + precision_.unit * std::abs(b.value) + precision_.tiny});
  }
  /// The same without a gradient.
  Index detached(Index x) { return push(numbers_[x].bounded); }
  /// As `old` for gradients, with another value: what has been overwritten in place.
  Index overwritten(Index old, double value) {
    connect(old, 1, 0);
    return push({value, 0});
  }

  /// A sum under construction: one at a time.
  class Sum {
   public:
    explicit Sum(Tape& tape) : tape_(tape) {}

    void add(Index x, double factor = 1) {
      const Bounded& a = tape_[x];
      is_plain_ = is_plain_ && factor == 1;
      // The library's type may not have the factor.
      const bool is_finite = std::abs(factor) < tape_.precision_.largest;
      add_term(factor * a.value, is_finite ? std::abs(factor) * a.error : unknown);
      tape_.connect(x, factor, is_finite ? slope_error(factor, 0) : unknown);
    }
    void add_product(Index x, Index y, double factor = 1) {
      const Bounded a = tape_[x], b = tape_[y];
      const double size = std::abs(factor);
      is_plain_ = false;
      add_term(factor * a.value * b.value,
               size * (std::abs(a.value) * b.error + std::abs(b.value) * a.error + a.error * b.error));
      tape_.connect(x, factor * b.value, slope_error(factor * b.value, size * b.error));
      tape_.connect(y, factor * a.value, slope_error(factor * a.value, size * a.error));
    }
    /// A term that may be anything.
    void add_unknown() { is_plain_ = false, add_term(0, unknown); }
    /// A term that the library may add and subtract.
    void add_cancelling(double term) { is_plain_ = false, terms_ += std::abs(term); }

    Index done() {
      // One addition rounds its result. Of more, in any order, each may round all the terms; a term itself is
      // rounded as a product, and so is its factor.
      const double rounding = !is_plain_   ? (count_ + 4) * terms_
                              : count_ > 2 ? count_ * terms_
                              : count_ > 1 ? std::abs(value_)
                                           : 0;
      const Precision& p = tape_.precision_;
      return tape_.push({value_, error_ + p.unit * rounding + (is_plain_ ? 0 : p.tiny * (count_ + terms_))});
    }

   private:
    void add_term(double term, double error) {
      value_ += term;
      terms_ += std::abs(term);
      error_ += error;
      ++count_;
    }
    double slope_error(double slope, double error) const {
      return slope == 1 && error == 0 ? 0 : error + tape_.precision_.tiny * (1 + std::abs(slope));
    }

    Tape& tape_;
    double value_ = 0, terms_ = 0, error_ = 0, count_ = 0;
    bool is_plain_ = true;
  };

  /// f(x), where f and its derivative are monotonous from `least` on, which no computation of x goes below.
  template <class F, class Derivative>
  Index function(Index x, const F& f, const Derivative& derivative, double least = -unknown) {
    constexpr double roundings = 4;  // of the C library and of its argument's
    const auto rounding = [&](double value) {
      return roundings * (precision_.unit * std::abs(value) + precision_.tiny);
    };
    const Bounded slope = bounded(x, derivative, least, {}, rounding);
    connect(x, slope.value, slope.error);
    return push(bounded(x, f, least, {}, rounding));
  }

  /// What is known of a function at some argument: how large what it rounds is, for its value and for its
  /// derivative. Infinite: nothing is known.
  struct Sizes {
    double value, slope;
  };
  /// f(x), where f and its derivative are monotonous but for these places, where either may turn or jump.
  template <class F, class Derivative>
  Index function(Index x, const F& f, const Derivative& derivative, const std::vector<double>& turns,
                 const Sizes& sizes) {
    constexpr double roundings = 16;  // of vectorised functions, which are less exact than the C library
    const auto rounding = [&](double size) {
      // Numbers below the smallest normal one may become 0, on the way too.
      return [this, size](double) {
        return roundings * (precision_.unit * size + (1 + size) / precision_.largest);
      };
    };
    const Bounded slope = bounded(x, derivative, -unknown, turns, rounding(sizes.slope));
    connect(x, slope.value, slope.error);
    return push(bounded(x, f, -unknown, turns, rounding(sizes.value)));
  }

  Index quotient(Index x, Index y) {
    const Bounded a = numbers_[x].bounded, b = numbers_[y].bounded;
    const double least = std::abs(b.value) - b.error, ratio = a.value / b.value, inverse = 1 / b.value;
    if (!(least > 0)) {
      for (const Index i : {x, y}) connect(i, 0, unknown);
      return push({ratio, unknown});
    }
    const auto rounded = [&](double value, double error) -> Bounded {
      return {value, error + 4 * (precision_.unit * (std::abs(value) + error) +
                                  (1 + 1 / least) / precision_.largest)};
    };
    const Bounded result = rounded(ratio, (a.error + std::abs(ratio) * b.error) / least);
    const Bounded of_x = rounded(inverse, std::abs(inverse) * b.error / least);
    const Bounded of_y =
        rounded(-ratio * inverse, (result.error + std::abs(ratio * inverse) * b.error) / least);
    connect(x, of_x.value, of_x.error);
    connect(y, of_y.value, of_y.error);
    return push(result);
  }

  /// The larger of two, or the smaller. Equal ones share the gradient.
  Index extreme(bool larger, Index x, Index y) {
    const Bounded a = numbers_[x].bounded, b = numbers_[y].bounded;
    const double lead = larger ? a.value - b.value : b.value - a.value, reach = a.error + b.error;
    const bool is_certain = std::abs(lead) > reach || reach == 0;
    const double share = !is_certain || lead == 0 ? 0.5 : lead > 0 ? 1 : 0, doubt = is_certain ? 0 : 0.5;
    connect(x, share, doubt);
    connect(y, 1 - share, doubt);
    const Bounded& winner = lead > 0 ? a : b;
    return push({winner.value, is_certain ? winner.error : reach});
  }

  /// The largest, the first among equals.
  Index maximum(std::span<const Index> choices) {
    Index best = choices[0];
    for (const Index i : choices)
      if (numbers_[i].bounded.value > numbers_[best].bounded.value) best = i;
    const Bounded winner = numbers_[best].bounded;
    double error = winner.error;
    bool is_certain = true;
    for (const Index i : choices) {
      const Bounded& other = numbers_[i].bounded;
      const double reach = other.error + winner.error;
      if (i == best || reach == 0 || other.value + reach < winner.value) continue;
      is_certain = false;
      error += other.error;
      connect(i, 0, 1);
    }
    connect(best, 1, is_certain ? 0 : 1);
    return push({winner.value, error});
  }

  /// The gradient of every number, given that of some.
  std::vector<Bounded> gradients(std::span<const Index> outputs, std::span<const double> seeds) const {
    std::vector<Gradient> sums(numbers_.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) sums[outputs[i]].add(seeds[i], 0);
    std::vector<Bounded> result(numbers_.size());
    // Also of what no output depends on: 0 times a slope that is infinite is NaN.
    for (Index i = numbers_.size(); i-- > 0;) {
      result[i] = sums[i].bounded(numbers_[i].precision);
      const Bounded& g = result[i];
      for (std::size_t e = i == 0 ? 0 : numbers_[i - 1].edges_end; e < numbers_[i].edges_end; ++e) {
        const Edge& edge = edges_[e];
        sums[edge.operand].add(g.value * edge.slope, std::abs(g.value) * edge.error +
                                                         g.error * (std::abs(edge.slope) + edge.error));
      }
    }
    return result;
  }

 private:
  /// d(number) / d(operand), up to `error`.
  struct Edge {
    Index operand;
    double slope, error;
  };
  struct Number {
    Bounded bounded;
    Precision precision;
    std::size_t edges_end;  ///< Its edges begin where those of the number before end.
    bool has_gradient;
  };
  struct Gradient {
    double value = 0, terms = 0, error = 0, count = 0;

    void add(double term, double its_error) {
      value += term;
      terms += std::abs(term);
      error += its_error;
      ++count;
    }
    /// The terms are products of a slope, rounded itself, and are added up in any order.
    Bounded bounded(const Precision& p) const {
      const double all = error + p.unit * (count + 4) * terms + p.tiny * (count + terms);
      return {value, std::abs(value) + all < p.largest ? all : unknown};
    }
  };

  /// g(x), where g is monotonous from `least` on but for the turns, up to the rounding of its value.
  template <class G, class Rounding>
  Bounded bounded(Index x, const G& g, double least, const std::vector<double>& turns,
                  const Rounding& rounding) const {
    const Bounded a = numbers_[x].bounded;
    const double value = g(a.value);
    if (!std::isfinite(a.error)) return {value, a.error};
    const double low = std::max(a.value - a.error, least), high = a.value + a.error;
    double error = std::abs(g(low) - value) + std::abs(g(high) - value);
    for (const double turn : turns) {
      if (a.error == 0 || !(turn >= low && turn <= high)) continue;
      for (const double place : {std::nextafter(turn, -unknown), turn, std::nextafter(turn, unknown)})
        error += std::abs(g(place) - value);
    }
    return {value, error + rounding(value)};
  }

  void connect(Index operand, double slope, double error) {
    if (recording_ && numbers_[operand].has_gradient) edges_.push_back({operand, slope, error});
  }
  Index push(Bounded bounded, bool has_gradient = false) {
    if (!(std::abs(bounded.value) + bounded.error < precision_.largest)) {
      bounded.error = unknown;
      is_finite_ = false;
    }
    const std::size_t edges_before = numbers_.empty() ? 0 : numbers_.back().edges_end;
    numbers_.push_back({bounded, precision_, edges_.size(), has_gradient || edges_.size() > edges_before});
    return numbers_.size() - 1;
  }

  Precision precision_ = precision_of<double>();
  bool recording_ = true, is_finite_ = true;
  std::vector<Number> numbers_;
  std::vector<Edge> edges_;
};

}  // namespace kg::fuzz
