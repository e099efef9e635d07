// SPDX-License-Identifier: MIT
#include "models/summary.h"

#include <fmt/format.h>

#include <vector>

#include "kernelgrad/autograd.h"
#include "report/metrics.h"

namespace mnist {

namespace {

struct Row {
  std::string name;
  kg::Shape output;
  std::int64_t parameters;
};

/// torchsummary skips torch.nn.Sequential, and never sees a plain function.
bool has_row(const kg::nn::Module& module) {
  return module.type_name() != "Sequential" && module.type_name() != "Functional";
}

std::vector<Row> rows_of(kg::nn::Module& network, const kg::Shape& input) {
  std::vector<Row> rows;
  const kg::nn::ForwardHook hook([&](const kg::nn::Module& module, const kg::Tensor& output) {
    if (!has_row(module)) return;
    // A container's parameters belong to the rows of its children.
    rows.push_back({fmt::format("{}-{}", module.type_name(), rows.size() + 1), output.shape(),
                    module.children().empty() ? module.parameter_count() : 0});
  });
  const kg::NoGrad no_grad;
  const bool was_training = network.is_training();
  network.eval();
  kg::Shape batch = {1};
  batch.insert(batch.end(), input.begin(), input.end());
  network(kg::Tensor::zeros(batch));
  network.train(was_training);
  return rows;
}

std::string shape_text(kg::Shape shape) {
  shape[0] = -1;
  return kg::to_string(shape);
}

}  // namespace

std::string summary_table(kg::nn::Module& network, const kg::Shape& input) {
  constexpr double bytes_per_mb = 1 << 20;
  const std::string thin(64, '-'), thick(64, '=');
  std::string table = fmt::format("{0}\n{1:>20}  {2:>25} {3:>15}\n{4}\n", thin, "Layer (type)",
                                  "Output Shape", "Param #", thick);
  std::int64_t activations = 0;
  for (const Row& row : rows_of(network, input)) {
    table += fmt::format("{:>20}  {:>25} {:>15}\n", row.name, shape_text(row.output),
                         with_thousands(row.parameters));
    activations += kg::numel(row.output);
  }
  const std::int64_t parameters = network.parameter_count();
  const double input_mb = static_cast<double>(kg::numel(input)) * 4 / bytes_per_mb;
  const double activations_mb = static_cast<double>(activations) * 2 * 4 / bytes_per_mb;
  const double parameters_mb = static_cast<double>(parameters) * 4 / bytes_per_mb;
  table += fmt::format("{}\nTotal params: {}\nTrainable params: {}\nNon-trainable params: 0\n{}\n", thick,
                       with_thousands(parameters), with_thousands(parameters), thin);
  table += fmt::format("Input size (MB): {:.2f}\nForward/backward pass size (MB): {:.2f}\n", input_mb,
                       activations_mb);
  table += fmt::format("Params size (MB): {:.2f}\nEstimated Total Size (MB): {:.2f}\n{}\n", parameters_mb,
                       input_mb + activations_mb + parameters_mb, thin);
  return table;
}

}  // namespace mnist
