// SPDX-License-Identifier: MIT
#include "models/summary.h"

#include "catch.h"
#include "models/recipe.h"

namespace mnist {
namespace {

TEST_CASE("summary_table of s7_final is the published one", "[summary]") {
  const std::string published = R"(----------------------------------------------------------------
        Layer (type)               Output Shape         Param #
================================================================
            Conv2d-1            [-1, 4, 26, 26]              36
              ReLU-2            [-1, 4, 26, 26]               0
       BatchNorm2d-3            [-1, 4, 26, 26]               8
           Dropout-4            [-1, 4, 26, 26]               0
         ConvBlock-5            [-1, 4, 26, 26]               0
            Conv2d-6            [-1, 8, 24, 24]             288
              ReLU-7            [-1, 8, 24, 24]               0
       BatchNorm2d-8            [-1, 8, 24, 24]              16
           Dropout-9            [-1, 8, 24, 24]               0
        ConvBlock-10            [-1, 8, 24, 24]               0
           Conv2d-11           [-1, 16, 22, 22]           1,152
             ReLU-12           [-1, 16, 22, 22]               0
      BatchNorm2d-13           [-1, 16, 22, 22]              32
          Dropout-14           [-1, 16, 22, 22]               0
        ConvBlock-15           [-1, 16, 22, 22]               0
           Conv2d-16            [-1, 8, 22, 22]             128
        MaxPool2d-17            [-1, 8, 11, 11]               0
  TransitionBlock-18            [-1, 8, 11, 11]               0
           Conv2d-19             [-1, 16, 9, 9]           1,152
             ReLU-20             [-1, 16, 9, 9]               0
      BatchNorm2d-21             [-1, 16, 9, 9]              32
          Dropout-22             [-1, 16, 9, 9]               0
        ConvBlock-23             [-1, 16, 9, 9]               0
           Conv2d-24             [-1, 16, 7, 7]           2,304
             ReLU-25             [-1, 16, 7, 7]               0
      BatchNorm2d-26             [-1, 16, 7, 7]              32
          Dropout-27             [-1, 16, 7, 7]               0
        ConvBlock-28             [-1, 16, 7, 7]               0
           Conv2d-29             [-1, 16, 7, 7]           2,304
             ReLU-30             [-1, 16, 7, 7]               0
      BatchNorm2d-31             [-1, 16, 7, 7]              32
          Dropout-32             [-1, 16, 7, 7]               0
        ConvBlock-33             [-1, 16, 7, 7]               0
           Conv2d-34             [-1, 10, 7, 7]             160
        AvgPool2d-35             [-1, 10, 1, 1]               0
================================================================
Total params: 7,676
Trainable params: 7,676
Non-trainable params: 0
----------------------------------------------------------------
Input size (MB): 0.00
Forward/backward pass size (MB): 0.73
Params size (MB): 0.03
Estimated Total Size (MB): 0.76
----------------------------------------------------------------
)";
  kg::nn::Sequential network = find_recipe("s7_final").network();
  CHECK(network.parameter_count() == 7676);
  CHECK(summary_table(network, {1, 28, 28}) == published);
}

TEST_CASE("summary_table counts a layer with bias and leaves plain containers out", "[summary]") {
  namespace nn = kg::nn;
  nn::Sequential network(nn::Sequential(nn::Flatten(), nn::Linear(12, 5)),
                         nn::Functional([](const kg::Tensor& x) { return kg::relu(x); }));
  CHECK(summary_table(network, {3, 2, 2}) ==
        R"(----------------------------------------------------------------
        Layer (type)               Output Shape         Param #
================================================================
           Flatten-1                   [-1, 12]               0
            Linear-2                    [-1, 5]              65
================================================================
Total params: 65
Trainable params: 65
Non-trainable params: 0
----------------------------------------------------------------
Input size (MB): 0.00
Forward/backward pass size (MB): 0.00
Params size (MB): 0.00
Estimated Total Size (MB): 0.00
----------------------------------------------------------------
)");
}

TEST_CASE("summary_table leaves the network as it was", "[summary]") {
  for (const bool training : {true, false}) {
    kg::nn::Sequential network = find_recipe("s7_final").network();
    network.train(training);
    std::vector<kg::Tensor> before;
    for (const kg::nn::NamedTensor& entry : network.state_dict()) before.push_back(entry.tensor.clone());
    summary_table(network, {1, 28, 28});
    const kg::nn::StateDict after = network.state_dict();
    for (std::size_t i = 0; i < after.size(); ++i) {
      INFO(after[i].name);
      CHECK(std::ranges::equal(after[i].tensor.bytes(), before[i].bytes()));
    }
    CHECK(network.is_training() == training);
  }
}

}  // namespace
}  // namespace mnist
