// SPDX-License-Identifier: MIT
#include "models/receptive_field.h"

#include <algorithm>

#include "catch.h"
#include "idx_fixture.h"
#include "kernelgrad/autograd.h"
#include "models/recipe.h"
#include "support.h"

namespace mnist {
namespace {

namespace nn = kg::nn;

TEST_CASE("receptive_field_table of erav1_final is the published one", "[receptive_field]") {
  // The figures and the blocks of the published table; its columns have longer names.
  const std::string published =
      R"(| block                  | layer   | rf in | n in | j in | stride | padding | kernel | rf out | n out | j out |
| ---------------------- | ------- | ----: | ---: | ---: | -----: | ------: | -----: | -----: | ----: | ----: |
| Convolution Block      | conv1   |     1 |   28 |    1 |      1 |       0 |      3 |      3 |    26 |     1 |
|                        | conv2   |     3 |   26 |    1 |      1 |       0 |      3 |      5 |    24 |     1 |
| Pooling Layer          | maxpool |     5 |   24 |    1 |      2 |       0 |      2 |      6 |    12 |     2 |
| Transition Block       | conv3   |     6 |   12 |    2 |      1 |       0 |      1 |      6 |    12 |     2 |
|                        | conv4   |     6 |   12 |    2 |      1 |       0 |      1 |      6 |    12 |     2 |
| Convolution Block      | conv5   |     6 |   12 |    2 |      1 |       0 |      3 |     10 |    10 |     2 |
|                        | conv6   |    10 |   10 |    2 |      1 |       0 |      3 |     14 |     8 |     2 |
| Convolution Block      | conv7   |    14 |    8 |    2 |      1 |       0 |      3 |     18 |     6 |     2 |
|                        | conv8   |    18 |    6 |    2 |      1 |       0 |      3 |     22 |     4 |     2 |
| Global Average Pooling | GAP     |    22 |    4 |    2 |      1 |       0 |      4 |     28 |     1 |     2 |
| 1x1                    | conv9   |    28 |    1 |    2 |      1 |       0 |      1 |     28 |     1 |     2 |
)";
  CHECK(receptive_field_table(find_recipe("erav1_final").network(), 28) == published);
}

/// From the first to the last column of the input that an element in the middle of the last map depends on,
/// by its gradient: a dilated window skips some between.
std::int64_t width_seen(nn::Sequential& network, std::int64_t size) {
  for (kg::Tensor& parameter : network.parameters())
    parameter.copy_from(kg::Tensor::ones(parameter.shape(), {.dtype = parameter.dtype()}));
  kg::Tensor input = kg::testing::random({1, 1, size, size}, kg::DType::float32).set_requires_grad();
  const kg::Tensor output = network(input);
  std::vector<float> chosen(static_cast<std::size_t>(output.numel()), 0);
  chosen[static_cast<std::size_t>(output.size(2) / 2 * output.size(3) + output.size(3) / 2)] = 1;
  kg::sum(output * kg::Tensor::from(chosen, output.shape())).backward();
  const std::vector<float> gradient = input.grad().to_vector<float>();
  std::int64_t first = size, last = -1;
  for (std::int64_t i = 0; i < size * size; ++i)
    if (gradient[static_cast<std::size_t>(i)] != 0) {
      first = std::min(first, i % size);
      last = std::max(last, i % size);
    }
  return last - first + 1;
}

TEST_CASE("a receptive field is what an output's gradient reaches", "[receptive_field]") {
  // Average pooling throughout: a maximum lets the gradient through to one of its elements only.
  std::vector<nn::Sequential> networks = {
      {nn::Conv2d(1, 1, 3, {.bias = false}), nn::Conv2d(1, 1, 5, {.stride = 2, .bias = false})},
      {nn::Conv2d(1, 1, 3, {.stride = 3, .padding = 1, .bias = false}), nn::AvgPool2d(2),
       nn::Conv2d(1, 1, 3, {.padding = 1, .bias = false})},
      {nn::AvgPool2d(3, {.stride = 2}), nn::Sequential(nn::Conv2d(1, 1, 3, {.dilation = 2, .bias = false})),
       nn::Conv2d(1, 1, 1, {.bias = false})},
      {nn::Conv2d(1, 1, 2, {.bias = false}), nn::AvgPool2d(2, {.stride = 2}),
       nn::AvgPool2d(2, {.stride = 1})}};
  for (nn::Sequential& network : networks) {
    const std::vector<ReceptiveField> rows = receptive_fields(network, 40);
    REQUIRE(rows.size() == network.children().size());
    CHECK(rows.back().rf_out == width_seen(network, 40));
    CHECK(rows.back().n_out == network(kg::Tensor::zeros({1, 1, 40, 40})).size(3));
  }
}

TEST_CASE("a pooling of the whole map sees all of it", "[receptive_field]") {
  for (const bool adaptive : {false, true}) {
    nn::Sequential network(nn::Conv2d(1, 2, 3), nn::MaxPool2d(2));
    if (adaptive)
      network.append(std::make_shared<nn::GlobalAvgPool2d>());
    else
      network.append(std::make_shared<nn::AvgPool2d>(4));
    const ReceptiveField row = receptive_fields(network, 10).back();
    CHECK(row.layer == "GAP");
    CHECK(row.kernel == 4);
    CHECK(row.rf_out == 10);
    CHECK(row.n_out == 1);
    CHECK(row.jump_out == 2);
  }
}

TEST_CASE("receptive_fields refuses what has no single width, and what does not fit", "[receptive_field]") {
  CHECK(contains(error_of([] { receptive_fields(nn::Sequential(nn::Conv2d(1, 1, {3, 5})), 28); }), "3 x 5"));
  CHECK(contains(error_of([] { receptive_fields(nn::Sequential(nn::Conv2d(1, 1, 7)), 6); }),
                 "a window of 7 x 7 meets a map of 6 x 6"));
}

}  // namespace
}  // namespace mnist
