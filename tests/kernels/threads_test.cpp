// SPDX-License-Identifier: MIT
#include "support.h"
#include "thread_count.h"

namespace kg {
namespace {

using namespace testing;

/// An operation on a problem of many tasks.
struct Example {
  const char* name;
  Function function;
  std::vector<Tensor> inputs;
};

std::vector<Example> examples(DType dtype) {
  const Tensor image = random({37, 6, 31, 33}, dtype, 1);
  const auto labels = [](std::int64_t rows) {
    Tensor result = Tensor::zeros({rows}, {.dtype = DType::int64});
    for (std::int64_t i = 0; i < rows; ++i) result.data<std::int64_t>()[i] = i % 10;
    return result;
  };
  return {
      {"conv2d",
       [](const auto& t) {
         return conv2d(t[0], t[1], t[2], {.stride = {1, 2}, .padding = 1});
       },
       {image, random({7, 6, 3, 3}, dtype, 2), random({7}, dtype, 3)}},
      {"conv2d, groups",
       [](const auto& t) { return conv2d(t[0], t[1], {.groups = 3}); },
       {image, random({9, 2, 3, 3}, dtype, 2)}},
      {"batch_norm, training",
       [](const auto& t) {
         Generator generator(1);
         return batch_norm(t[0], t[1], t[2], {}, {},
                           {.training = true,
                            .relu_before = true,
                            .relu_after = true,
                            .dropout = 0.1,
                            .generator = &generator});
       },
       {image, random({6}, dtype, 2), random({6}, dtype, 3)}},
      {"batch_norm, inference",
       [](const auto& t) {
         const Tensor ones = Tensor::ones({6}, {.dtype = t[0].dtype()});
         return batch_norm(t[0], t[1], t[2], ones, ones);
       },
       {image, random({6}, dtype, 2), random({6}, dtype, 3)}},
      {"conv_transpose2d",
       [](const auto& t) { return conv_transpose2d(t[0], t[1], t[2], {.stride = 2, .output_padding = 1}); },
       {image, random({6, 3, 3, 3}, dtype, 2), random({3}, dtype, 3)}},
      {"relu", [](const auto& t) { return relu(t[0]); }, {image}},
      {"gelu", [](const auto& t) { return gelu(t[0]); }, {image}},
      {"div", [](const auto& t) { return t[0] / t[1]; }, {image, random({6, 1, 33}, dtype, 2)}},
      {"dropout",
       [](const auto& t) {
         Generator generator(1);
         return dropout(t[0], 0.5, generator);
       },
       {image}},
      {"max_pool2d", [](const auto& t) { return max_pool2d(t[0], 3, {.stride = 2, .padding = 1}); }, {image}},
      {"avg_pool2d", [](const auto& t) { return avg_pool2d(t[0], 3, {.stride = 1, .padding = 1}); }, {image}},
      {"global_avg_pool2d", [](const auto& t) { return global_avg_pool2d(t[0]); }, {image}},
      {"linear",
       [](const auto& t) { return linear(t[0], t[1], t[2]); },
       {random({131, 65}, dtype, 1), random({33, 65}, dtype, 2), random({33}, dtype, 3)}},
      {"log_softmax", [](const auto& t) { return log_softmax(t[0]); }, {random({1031, 10}, dtype, 1)}},
      {"nll_loss",
       [=](const auto& t) { return nll_loss(t[0], labels(1031)); },
       {random({1031, 10}, dtype, 1)}},
      {"cross_entropy",
       [=](const auto& t) { return cross_entropy(t[0], labels(1031)); },
       {random({1031, 10}, dtype, 1)}},
      {"add", [](const auto& t) { return t[0] + t[1]; }, {image, random({6, 1, 33}, dtype, 2)}},
      {"mul", [](const auto& t) { return t[0] * t[1]; }, {image, random({37, 1, 31, 1}, dtype, 2)}},
      {"mul by a number", [](const auto& t) { return t[0] * 3; }, {image}},
      {"sum",
       [](const auto& t) {
         return sum(t[0], {.dims = {0, 2}});
       },
       {image}},
      {"mean", [](const auto& t) { return mean(t[0]); }, {image}},
      {"several uses of one tensor", [](const auto& t) { return t[0] * t[0] + relu(t[0]); }, {image}},
  };
}

TEST_CASE("Results do not depend on the number of threads, bit for bit", "[threads]") {
  const ThreadCount restored(num_threads());
  const DType dtype = GENERATE(DType::float32, DType::float64);
  for (const Example& example : examples(dtype)) {
    INFO(example.name << ", " << name_of(dtype));
    const auto with_threads = [&](int threads) {
      set_num_threads(threads);
      return run(example.function, requiring(example.inputs));
    };
    const Run one = with_threads(1);
    for (const int threads : {1, 2, 3, 7}) {
      INFO(threads << " threads");
      const Run several = with_threads(threads);
      CHECK(same_bits(several.output, one.output));
      for (std::size_t i = 0; i < one.gradients.size(); ++i)
        CHECK(same_bits(several.gradients[i], one.gradients[i]));
    }
  }
}

TEST_CASE("batch_norm's running statistics do not depend on the number of threads", "[threads]") {
  const ThreadCount restored(num_threads());
  const Tensor x = random({37, 5, 31, 7}, DType::float32, 1);
  const auto statistics = [&](int threads) {
    set_num_threads(threads);
    Tensor mean = Tensor::zeros({5}), var = Tensor::ones({5});
    batch_norm(x, {}, {}, mean, var, {.training = true});
    return std::pair(mean, var);
  };
  for (const int threads : {2, 3}) {
    CHECK(same_bits(statistics(threads).first, statistics(1).first));
    CHECK(same_bits(statistics(threads).second, statistics(1).second));
  }
}

}  // namespace
}  // namespace kg
