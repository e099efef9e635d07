// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <utility>

#include "kernelgrad/autograd.h"
#include "kernelgrad/random.h"

namespace kg {

namespace {

using Function = std::function<Tensor(const std::vector<Tensor>&)>;

/// The derivatives of every element of the output, for every entry of one input: [entry][output element].
using Jacobian = std::vector<std::vector<double>>;

/// What rounding leaves in a function's value, in eps times the magnitude of its terms. With a quarter of it
/// the right gradients of all operations still pass.
constexpr double roundings = 1;
/// From here on the step grows with the entry: closer points would be told apart by too few bits.
constexpr double large_entry = 1e3;

Shape position(std::size_t index, const Shape& shape) {
  std::int64_t rest = static_cast<std::int64_t>(index);
  Shape result(shape.size());
  for (std::size_t d = shape.size(); d-- > 0; rest /= shape[d]) result[d] = rest % shape[d];
  return result;
}

bool is_checked(const Tensor& input) { return input.defined() && input.requires_grad(); }

std::size_t count_of(const Tensor& tensor) { return static_cast<std::size_t>(tensor.numel()); }

/// The function along one entry of one input.
class Line {
 public:
  Line(const Function& function, const std::vector<Tensor>& inputs, std::size_t which, std::size_t entry,
       double epsilon)
      : function_(function),
        inputs_(inputs),
        which_(which),
        entry_(entry),
        values_(inputs[which].to_vector<double>()),
        at_(values_[entry]),
        reach_(epsilon * std::max(1.0, std::abs(at_) / large_entry)) {}

  double at() const { return at_; }
  double reach() const { return reach_; }
  /// Of every output element, the largest size that it was seen with.
  const std::vector<double>& largest() const { return largest_; }

  /// Of every output element, the difference quotient between the points `step` to either side.
  std::vector<double> central(double step) {
    const double above = at_ + step, below = at_ - step;
    std::vector<double> slopes = outputs_at(above);
    const std::vector<double> lower = outputs_at(below);
    largest_.resize(slopes.size());
    for (std::size_t i = 0; i < slopes.size(); ++i) {
      largest_[i] = std::max({largest_[i], std::abs(slopes[i]), std::abs(lower[i])});
      slopes[i] = (slopes[i] - lower[i]) / (above - below);
    }
    return slopes;
  }

 private:
  std::vector<double> outputs_at(double value) {
    const NoGrad no_grad;
    values_[entry_] = value;
    inputs_[which_] = Tensor::from(values_, inputs_[which_].shape(), inputs_[which_].device());
    return function_(inputs_).to_vector<double>();
  }

  const Function& function_;
  std::vector<Tensor> inputs_;
  std::size_t which_, entry_;
  std::vector<double> values_;
  double at_, reach_;
  std::vector<double> largest_;
};

/// The gradients of the leaves that are checked, which are cleared; zeros where backward left none.
std::vector<std::vector<double>> take_gradients(std::vector<Tensor>& leaves) {
  std::vector<std::vector<double>> gradients(leaves.size());
  for (std::size_t k = 0; k < leaves.size(); ++k) {
    if (!is_checked(leaves[k])) continue;
    const Tensor gradient = leaves[k].grad();
    gradients[k] =
        gradient.defined() ? gradient.to_vector<double>() : std::vector<double>(count_of(leaves[k]));
    leaves[k].set_grad({});
  }
  return gradients;
}

/// Holds what backward() gives for one function against difference quotients.
class Check {
 public:
  Check(const Function& function, std::vector<Tensor> leaves, const GradcheckOptions& options)
      : function_(function),
        leaves_(std::move(leaves)),
        options_(options),
        output_(function(leaves_)),
        values_(output_.to_vector<double>()),
        analytic_(leaves_.size()),
        numeric_(leaves_.size()),
        terms_(values_.size()) {}

  GradcheckResult run() {
    differentiate();
    go_backward();
    for (std::size_t k = 0; k < leaves_.size(); ++k)
      for (std::size_t entry = 0; entry < numeric_[k].size(); ++entry) compare(k, entry);
    return result_;
  }

 private:
  /// The quotients between the inner points, and from them the terms that each output element would be the
  /// sum of if it were linear.
  void differentiate() {
    for (std::size_t k = 0; k < leaves_.size(); ++k)
      for (std::size_t entry = 0; is_checked(leaves_[k]) && entry < count_of(leaves_[k]); ++entry) {
        Line line(function_, leaves_, k, entry, options_.epsilon);
        const std::vector<double>& slopes = numeric_[k].emplace_back(line.central(line.reach() / 2));
        for (std::size_t i = 0; i < slopes.size(); ++i) terms_[i] += std::abs(line.at() * slopes[i]);
      }
  }

  /// One output element after the other; then all at once, which must be the sum. The weights show a rule
  /// that does not multiply by the gradient it is given.
  void go_backward() {
    RandomStream random(0, RandomPurpose::user);
    std::vector<double> weights(values_.size());
    for (double& weight : weights) weight = random.uniform(0.5, 1.5) * (random.bits() % 2 ? 1 : -1);
    for (std::size_t k = 0; k < leaves_.size(); ++k)
      analytic_[k].assign(numeric_[k].size(), std::vector<double>(values_.size()));

    std::vector<double> gradient(values_.size());
    for (std::size_t i = 0; i < values_.size(); ++i) {
      gradient[i] = weights[i];
      const auto row = backward(gradient);
      gradient[i] = 0;
      for (std::size_t k = 0; k < leaves_.size(); ++k)
        for (std::size_t entry = 0; entry < row[k].size(); ++entry)
          analytic_[k][entry][i] = row[k][entry] / weights[i];
    }
    if (weights.size() > 1) check_sum(backward(weights), weights);
  }

  std::vector<std::vector<double>> backward(const std::vector<double>& gradient) {
    output_.backward(Tensor::from(gradient, output_.shape(), output_.device()), true);
    return take_gradients(leaves_);
  }

  void check_sum(const std::vector<std::vector<double>>& together, const std::vector<double>& weights) {
    for (std::size_t k = 0; k < leaves_.size(); ++k)
      for (std::size_t entry = 0; entry < together[k].size(); ++entry) {
        double sum = 0, terms = 0;
        for (std::size_t i = 0; i < weights.size(); ++i) {
          const double term = weights[i] * analytic_[k][entry][i];
          sum += term;
          terms += std::abs(term);
        }
        const double deviation = std::abs(together[k][entry] - sum);
        judge(deviation == 0 ? 0 : deviation / terms, [&](std::ostream& text) {
          text << name_of(k, entry) << "backward gives " << together[k][entry]
               << " for all of the output, and in sum " << sum << " for its elements one by one";
        });
      }
  }

  /// By the quotients at hand where they agree to the tolerance, whatever the noise; otherwise by better
  /// ones.
  void compare(std::size_t k, std::size_t entry) {
    const std::vector<double>&analytic = analytic_[k][entry], &first = numeric_[k][entry];
    Quotients better;
    for (std::size_t i = 0; i < first.size(); ++i) {
      double error = relative(analytic[i], first[i], 0), numeric = first[i], noise = 0;
      if (!(error <= options_.tolerance)) {
        if (better.slopes.empty()) better = extrapolated(k, entry);
        numeric = better.slopes[i];
        noise = better.noise[i];
        error = relative(analytic[i], numeric, noise);
      }
      judge(error, [&](std::ostream& text) {
        text << name_of(k, entry) << "backward gives " << analytic[i] << ", differences give " << numeric
             << " +- " << noise << " for output " << to_string(position(i, output_.shape()));
      });
    }
  }

  struct Quotients {
    std::vector<double> slopes, noise;
  };

  /// Richardson's extrapolation from two central differences to step 0: its error is of fourth order.
  Quotients extrapolated(std::size_t k, std::size_t entry) {
    Line line(function_, leaves_, k, entry, options_.epsilon);
    Quotients result{.slopes = line.central(line.reach()), .noise = terms_};
    // Of four values with their weights in the quotient: 4/3 over reach / 2, 1/3 over reach.
    const double share = 3 * roundings * std::numeric_limits<double>::epsilon() / line.reach();
    for (std::size_t i = 0; i < result.slopes.size(); ++i) {
      result.slopes[i] = (4 * numeric_[k][entry][i] - result.slopes[i]) / 3;
      result.noise[i] = share * (result.noise[i] + line.largest()[i]);
    }
    return result;
  }

  /// The deviation beyond the noise, in proportion to the derivative; infinite where NaN or infinity is.
  static double relative(double analytic, double numeric, double noise) {
    const double deviation = std::abs(analytic - numeric);
    if (!std::isfinite(analytic) || !std::isfinite(numeric)) return HUGE_VAL;
    return deviation <= noise ? 0 : (deviation - noise) / std::abs(numeric);
  }

  template <class Write>
  void judge(double error, const Write& write) {
    if (std::isnan(error)) error = HUGE_VAL;
    if (error <= result_.error) return;
    result_.error = error;
    if (error <= options_.tolerance) return;
    result_.passed = false;
    std::ostringstream text;
    write(text);
    result_.message = text.str();
  }

  std::string name_of(std::size_t k, std::size_t entry) const {
    return "input " + std::to_string(k) + " " + to_string(position(entry, leaves_[k].shape())) + ": ";
  }

  const Function& function_;
  std::vector<Tensor> leaves_;
  GradcheckOptions options_;
  Tensor output_;
  std::vector<double> values_;
  std::vector<Jacobian> analytic_, numeric_;
  std::vector<double> terms_;
  GradcheckResult result_;
};

}  // namespace

GradcheckResult gradcheck(const std::function<Tensor(const std::vector<Tensor>&)>& function,
                          const std::vector<Tensor>& inputs, GradcheckOptions options) try {
  if (!function) throw Error("gradcheck: the function is empty");
  std::vector<Tensor> leaves;
  bool needed = false;
  for (const Tensor& input : inputs) {
    Tensor leaf = input.defined() ? input.clone() : Tensor();
    if (is_checked(input)) {
      if (input.dtype() != DType::float64)
        throw Error("gradcheck: input " + std::to_string(leaves.size()) + " is " +
                    std::string(name_of(input.dtype())) +
                    ", expected float64: differences in lower precision show nothing");
      leaf.set_requires_grad();
      needed = true;
    }
    leaves.push_back(leaf);
  }
  if (!needed) throw Error("gradcheck: no input requires a gradient");
  return Check(function, std::move(leaves), options).run();
} catch (const std::bad_alloc&) {
  no_memory("gradcheck");
}

}  // namespace kg
