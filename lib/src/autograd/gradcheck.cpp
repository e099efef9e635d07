#include <algorithm>
#include <cmath>
#include <utility>

#include "kernelgrad/autograd.h"
#include "kernelgrad/random.h"

namespace kg {

namespace {

Shape position(std::int64_t index, const Shape& shape) {
  Shape result(shape.size());
  for (std::size_t d = shape.size(); d-- > 0; index /= shape[d]) result[d] = index % shape[d];
  return result;
}

/// sum of output * weights, with the weights drawn once: a scalar in which every output element counts
/// differently.
class Objective {
 public:
  explicit Objective(const std::function<Tensor(const std::vector<Tensor>&)>& function)
      : function_(function) {}

  Tensor weights_for(const Tensor& output) const {
    RandomStream random(0, RandomPurpose::user);
    std::vector<double> weights(static_cast<std::size_t>(output.numel()));
    for (double& weight : weights) weight = random.uniform(-1, 1);
    return Tensor::from(weights, output.shape(), output.device());
  }

  double operator()(const std::vector<Tensor>& inputs) const {
    const NoGrad no_grad;
    const Tensor output = function_(inputs);
    const std::vector<double> values = output.to_vector<double>();
    const std::vector<double> weights = weights_for(output).to_vector<double>();
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += values[i] * weights[i];
    return sum;
  }

 private:
  const std::function<Tensor(const std::vector<Tensor>&)>& function_;
};

std::vector<double> numeric_gradient(const Objective& objective, const std::vector<Tensor>& inputs,
                                     std::size_t which, double epsilon) {
  std::vector<double> values = inputs[which].to_vector<double>();
  std::vector<double> gradient(values.size());
  std::vector<Tensor> moved = inputs;
  const auto objective_with = [&](std::size_t i, double value) {
    const double original = std::exchange(values[i], value);
    moved[which] = Tensor::from(values, inputs[which].shape(), inputs[which].device());
    values[i] = original;
    return objective(moved);
  };
  for (std::size_t i = 0; i < values.size(); ++i)
    gradient[i] =
        (objective_with(i, values[i] + epsilon) - objective_with(i, values[i] - epsilon)) / (2 * epsilon);
  return gradient;
}

void compare(const std::vector<double>& analytic, const std::vector<double>& numeric, std::size_t which,
             const Shape& shape, double tolerance, GradcheckResult& result) {
  double scale = 1e-3;
  for (const double value : numeric) scale = std::max(scale, std::abs(value));
  for (std::size_t i = 0; i < numeric.size(); ++i) {
    const double error = std::abs(analytic[i] - numeric[i]) / scale;
    if (error <= result.error) continue;
    result.error = std::isnan(error) ? HUGE_VAL : error;
    if (error <= tolerance) continue;
    result.passed = false;
    result.message = "input " + std::to_string(which) + " " +
                     to_string(position(static_cast<std::int64_t>(i), shape)) + ": backward gives " +
                     std::to_string(analytic[i]) + ", differences give " + std::to_string(numeric[i]);
  }
}

}  // namespace

GradcheckResult gradcheck(const std::function<Tensor(const std::vector<Tensor>&)>& function,
                          const std::vector<Tensor>& inputs, GradcheckOptions options) {
  if (!function) throw Error("gradcheck: the function is empty");
  std::vector<Tensor> leaves;
  bool needed = false;
  for (const Tensor& input : inputs) {
    Tensor leaf = input.defined() ? input.clone() : Tensor();
    if (input.defined() && input.requires_grad()) {
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

  const Objective objective(function);
  const Tensor output = function(leaves);
  output.backward(objective.weights_for(output));

  GradcheckResult result;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (!leaves[i].defined() || !leaves[i].requires_grad()) continue;
    const std::vector<double> analytic =
        leaves[i].grad().defined() ? leaves[i].grad().to_vector<double>()
                                   : std::vector<double>(static_cast<std::size_t>(leaves[i].numel()));
    compare(analytic, numeric_gradient(objective, leaves, i, options.epsilon), i, leaves[i].shape(),
            options.tolerance, result);
  }
  return result;
}

}  // namespace kg
