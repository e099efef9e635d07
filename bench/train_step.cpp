// SPDX-License-Identifier: MIT
#include <memory>
#include <optional>

#include "bench.h"
#include "kernelgrad/training/sgd.h"
#include "models/recipe.h"
#include "train/training_steps.h"

namespace {

/// As many as MNIST has, but for the last, smaller batch.
constexpr int batch_size = 128, batches = 468, side = 28;

/// Multiply-adds of s7_final's convolutions, forward, for an image. Each of them is repeated for the gradient
/// of the weight and for that of the input, which the first layer does not need.
constexpr std::int64_t multiply_adds = 1'136'688, first_layer = 24'336;

/// Noise: no step takes longer or shorter for what the images show.
mnist::Split random_split() {
  mnist::Split split;
  split.count = batch_size * batches;
  split.height = split.width = side;
  kg::RandomStream random(1, kg::RandomPurpose::user);
  split.images.resize(static_cast<std::size_t>(split.count) * side * side);
  for (std::uint8_t& pixel : split.images) pixel = static_cast<std::uint8_t>(random.bits());
  split.labels.resize(static_cast<std::size_t>(split.count));
  for (std::uint8_t& label : split.labels) label = static_cast<std::uint8_t>(random.below(10));
  return split;
}

/// Steps of training s7_final as its recipe says: batch with augmentation, forward, backward, update.
class Training {
 public:
  explicit Training(bool graph) : split_(random_split()), network_(recipe().network()) {
    network_.to(bench::device());
    sgd_.emplace(network_.parameters(), recipe().sgd);
    const mnist::ImageLoaderOptions options{
        .batch_size = batch_size, .seed = 1, .shuffle = true, .augmentation = recipe().augmentation()};
    steps_ = bench::device().is_cuda() ? mnist::steps_on_cuda({network_, *sgd_}, split_, options, graph)
                                       : mnist::steps_on_cpu({network_, *sgd_}, split_, options);
  }

  void step() {
    if (index_ == 0) steps_->start_epoch(++epoch_);
    steps_->run(index_);
    index_ = (index_ + 1) % batches;
  }

 private:
  static const mnist::Recipe& recipe() { return mnist::find_recipe("s7_final"); }

  mnist::Split split_;
  kg::nn::Sequential network_;
  std::optional<kg::training::Sgd> sgd_;
  std::unique_ptr<mnist::TrainingSteps> steps_;
  int epoch_ = 0, index_ = 0;
};

std::function<void()> train(bool graph) {
  return [training = std::make_shared<Training>(graph)] { training->step(); };
}

const bench::Registrar registrar([] {
  const bench::Work work{.flops = 2 * batch_size * (3 * multiply_adds - first_layer), .trains = true};
  const std::string name = "train_step/s7_final/batch:" + std::to_string(batch_size);
  bench::add(name, work, [] { return train(true); });
  // The same on a GPU without a recorded graph; on a CPU there is no difference.
  bench::add(name + "/graph:0", work, [] { return train(false); });
});

}  // namespace
