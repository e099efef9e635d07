// SPDX-License-Identifier: MIT
#include "train/training_steps.h"

#include <cmath>
#include <functional>
#include <numeric>
#include <optional>
#include <span>

#include "cuda/kernels.h"
#include "data/resident_loader.h"
#include "kernelgrad/device_array.h"
#include "kernelgrad/graph.h"
#include "kernelgrad/ops.h"

namespace mnist {

namespace {

/// The mean over the batch of the cross entropy with labels of which `smoothing` is spread evenly over all
/// classes, as torch.nn.functional.cross_entropy(label_smoothing=...) has it; `loss` is that without.
kg::Tensor smoothed(const kg::Tensor& loss, const kg::Tensor& log_probabilities, double smoothing) {
  return loss * (1 - smoothing) + kg::mean(log_probabilities) * -smoothing;
}

/// Trains with one batch. `count` is told the log-probabilities and their mean loss, without smoothing. No
/// gradient is left behind, and none is expected: a recorded step cannot hand memory on to the next.
template <class Count>
void train_on(const kg::training::Batch& batch, const Learner& learner, const Count& count) {
  const kg::Tensor output = learner.network(batch.inputs);
  const kg::Tensor loss = kg::nll_loss(output, batch.labels);
  count(output, loss);
  if (learner.label_smoothing > 0)
    smoothed(loss, output, learner.label_smoothing).backward();
  else
    loss.backward();
  learner.optimizer.step();
  learner.optimizer.zero_grad();
  if (learner.average) learner.average->update();
}

std::int64_t count_correct(const kg::Tensor& output, const kg::Tensor& labels) {
  const kg::Tensor predictions = kg::argmax(output);
  const auto predicted = predictions.span<std::int64_t>(), actual = labels.span<std::int64_t>();
  return std::inner_product(predicted.begin(), predicted.end(), actual.begin(), std::int64_t{0},
                            std::plus<>(), std::equal_to<>());
}

class StepsOnCpu : public TrainingSteps {
 public:
  StepsOnCpu(const Learner& learner, const Split& split, const ImageLoaderOptions& options)
      : learner_(learner), loader_(split, options) {}

  void start_epoch(int epoch) override {
    loader_.start_epoch(epoch);
    totals_ = {};
    batches_.clear();
  }

  int batches() const override { return loader_.batches(); }

  void run(int index) override {
    if (learner_.average) learner_.average->next_step();
    const kg::training::Batch batch = loader_.batch(index);
    train_on(batch, learner_, [&](const kg::Tensor& output, const kg::Tensor& loss) {
      add({.loss = loss.item(),
           .correct = count_correct(output, batch.labels),
           .images = batch.labels.numel()});
    });
  }

  EpochTotals totals() override { return totals_; }
  std::vector<BatchTotals> batch_totals() override { return batches_; }
  int steps_between_totals() const override { return 1; }

 private:
  void add(const BatchTotals& batch) {
    if (!std::isfinite(batch.loss) && totals_.diverged_batch < 0) {
      totals_.diverged_batch = totals_.batches;
      totals_.diverged_loss = batch.loss;
    }
    batches_.push_back(batch);
    totals_.loss += batch.loss * static_cast<double>(batch.images);
    totals_.correct += batch.correct;
    totals_.images += batch.images;
    totals_.batches += 1;
    totals_.last_loss = batch.loss;
  }

  Learner learner_;
  ImageLoader loader_;
  EpochTotals totals_;
  std::vector<BatchTotals> batches_;
};

/// An epoch's totals and those of its batches in device memory.
class TotalsOnCuda {
 public:
  explicit TotalsOnCuda(int most_batches) : totals_(1), batches_(most_batches) {}

  void reset() {
    const EpochTotals none;
    totals_.copy_from(std::span(&none, 1));
  }

  void add(const kg::Tensor& output, const kg::Tensor& labels, const kg::Tensor& loss) {
    cuda::metrics_add_batch(output.size(0), output.size(1), output.device_data<float>(),
                            labels.device_data<std::int64_t>(), loss.device_data<float>(), totals_.data(),
                            batches_.data());
  }

  EpochTotals read() const { return totals_.to_vector().front(); }

  std::vector<BatchTotals> read_batches() const {
    std::vector<BatchTotals> batches = batches_.to_vector();
    // Beyond those that ran is what an epoch before left behind.
    batches.resize(static_cast<std::size_t>(read().batches));
    return batches;
  }

  /// Where the index of the next batch stands: so many have been added.
  const std::int64_t* next_batch() const { return &totals_.data()->batches; }

 private:
  kg::DeviceArray<EpochTotals> totals_;
  kg::DeviceArray<BatchTotals> batches_;
};

class StepsOnCuda : public TrainingSteps {
 public:
  StepsOnCuda(const Learner& learner, const Split& split, const ImageLoaderOptions& options, bool graph)
      : learner_(learner), loader_(split, options), totals_(loader_.batches()), use_graph_(graph) {}

  void start_epoch(int epoch) override {
    loader_.start_epoch(epoch);
    totals_.reset();
  }

  int batches() const override { return loader_.batches(); }

  void run(int index) override {
    if (learner_.average) learner_.average->next_step();
    const int size = loader_.size_of(index);
    // The last batch of an epoch may be smaller than the recording's.
    if (!use_graph_ || size < loader_.size_of(0)) return run_kernels(size);
    // Once kernel by kernel, so that everything that lasts is allocated before the recording.
    if (!std::exchange(has_run_, true)) return run_kernels(size);
    if (!graph_) graph_.emplace([&] { run_kernels(size); });
    graph_->replay();
  }

  EpochTotals totals() override { return totals_.read(); }
  std::vector<BatchTotals> batch_totals() override { return totals_.read_batches(); }
  int steps_between_totals() const override { return 50; }

 private:
  void run_kernels(int size) {
    const kg::training::Batch batch = loader_.batch(totals_.next_batch(), size);
    train_on(batch, learner_, [&](const kg::Tensor& output, const kg::Tensor& loss) {
      totals_.add(output, batch.labels, loss);
    });
  }

  Learner learner_;
  ResidentLoader loader_;
  TotalsOnCuda totals_;
  bool use_graph_;
  bool has_run_ = false;
  std::optional<kg::Graph> graph_;
};

}  // namespace

std::unique_ptr<TrainingSteps> steps_on_cpu(const Learner& learner, const Split& split,
                                            const ImageLoaderOptions& options) {
  return std::make_unique<StepsOnCpu>(learner, split, options);
}

std::unique_ptr<TrainingSteps> steps_on_cuda(const Learner& learner, const Split& split,
                                             const ImageLoaderOptions& options, bool graph) {
  return std::make_unique<StepsOnCuda>(learner, split, options, graph);
}

}  // namespace mnist
