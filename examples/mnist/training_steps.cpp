#include "training_steps.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <optional>
#include <span>

#include "cuda/kernels.h"
#include "kernelgrad/graph.h"
#include "kernelgrad/ops.h"
#include "resident_loader.h"

namespace mnist {

namespace {

/// Trains with one batch. `count` is told the log-probabilities and their mean loss. No gradient is left
/// behind, and none is expected: a recorded step cannot hand memory on to the next.
template <class Count>
void train_on(const Batch& batch, kg::nn::Module& network, Sgd& sgd, const Count& count) {
  const kg::Tensor output = network(batch.images);
  const kg::Tensor loss = kg::nll_loss(output, batch.labels);
  count(output, loss);
  loss.backward();
  sgd.step();
  sgd.zero_grad();
}

std::int64_t count_correct(const kg::Tensor& output, const kg::Tensor& labels) {
  const kg::Tensor predictions = kg::argmax(output);
  const auto predicted = predictions.span<std::int64_t>(), actual = labels.span<std::int64_t>();
  return std::inner_product(predicted.begin(), predicted.end(), actual.begin(), std::int64_t{0},
                            std::plus<>(), std::equal_to<>());
}

class StepsOnCpu : public TrainingSteps {
 public:
  StepsOnCpu(kg::nn::Module& network, Sgd& sgd, const Split& split, const LoaderOptions& options)
      : network_(network), sgd_(sgd), loader_(split, options) {}

  void start_epoch(int epoch) override {
    loader_.start_epoch(epoch);
    totals_ = {};
  }

  int batches() const override { return loader_.batches(); }

  void run(int index) override {
    const Batch batch = loader_.batch(index);
    train_on(batch, network_, sgd_, [&](const kg::Tensor& output, const kg::Tensor& loss) {
      add(loss.item(), count_correct(output, batch.labels), batch.labels.numel());
    });
  }

  EpochTotals totals() override { return totals_; }
  int steps_between_totals() const override { return 1; }

 private:
  void add(double loss, std::int64_t correct, std::int64_t images) {
    if (!std::isfinite(loss) && totals_.diverged_batch < 0) {
      totals_.diverged_batch = totals_.batches;
      totals_.diverged_loss = loss;
    }
    totals_.loss += loss * static_cast<double>(images);
    totals_.correct += correct;
    totals_.images += images;
    totals_.batches += 1;
    totals_.last_loss = loss;
  }

  kg::nn::Module& network_;
  Sgd& sgd_;
  Loader loader_;
  EpochTotals totals_;
};

/// EpochTotals in device memory.
class TotalsOnCuda {
 public:
  TotalsOnCuda()
      : bytes_(kg::Tensor::empty({sizeof(EpochTotals)},
                                 {.dtype = kg::DType::uint8, .device = kg::Device::cuda()})) {}

  void reset() {
    const EpochTotals none;
    bytes_.copy_from(kg::Tensor::from_bytes(std::as_bytes(std::span(&none, 1)), bytes_.shape(),
                                            {.dtype = kg::DType::uint8}));
  }

  void add(const kg::Tensor& output, const kg::Tensor& labels, const kg::Tensor& loss) {
    cuda::metrics_add_batch(output.size(0), output.size(1), output.device_data<float>(),
                            labels.device_data<std::int64_t>(), loss.device_data<float>(), address(), {});
  }

  EpochTotals read() const {
    EpochTotals totals;
    std::memcpy(&totals, bytes_.to_vector<std::uint8_t>().data(), sizeof totals);
    return totals;
  }

  /// Where the number of batches stands, which is the index of the next one.
  const std::int64_t* batches() { return &address()->batches; }

 private:
  EpochTotals* address() { return reinterpret_cast<EpochTotals*>(bytes_.device_data<std::uint8_t>()); }

  kg::Tensor bytes_;
};

class StepsOnCuda : public TrainingSteps {
 public:
  StepsOnCuda(kg::nn::Module& network, Sgd& sgd, const Split& split, const LoaderOptions& options, bool graph)
      : network_(network), sgd_(sgd), loader_(split, options), use_graph_(graph) {}

  void start_epoch(int epoch) override {
    loader_.start_epoch(epoch);
    totals_.reset();
  }

  int batches() const override { return loader_.batches(); }

  void run(int index) override {
    const int size = loader_.size_of(index);
    // The last batch of an epoch may be smaller than the recording's.
    if (!use_graph_ || size < loader_.size_of(0)) return run_kernels(size);
    // Once kernel by kernel, so that everything that lasts is allocated before the recording.
    if (!std::exchange(has_run_, true)) return run_kernels(size);
    if (!graph_) graph_.emplace([&] { run_kernels(size); });
    graph_->replay();
  }

  EpochTotals totals() override { return totals_.read(); }
  int steps_between_totals() const override { return 50; }

 private:
  void run_kernels(int size) {
    const Batch batch = loader_.batch(totals_.batches(), size);
    train_on(batch, network_, sgd_, [&](const kg::Tensor& output, const kg::Tensor& loss) {
      totals_.add(output, batch.labels, loss);
    });
  }

  kg::nn::Module& network_;
  Sgd& sgd_;
  ResidentLoader loader_;
  TotalsOnCuda totals_;
  bool use_graph_;
  bool has_run_ = false;
  std::optional<kg::Graph> graph_;
};

}  // namespace

std::unique_ptr<TrainingSteps> steps_on_cpu(kg::nn::Module& network, Sgd& sgd, const Split& split,
                                            const LoaderOptions& options) {
  return std::make_unique<StepsOnCpu>(network, sgd, split, options);
}

std::unique_ptr<TrainingSteps> steps_on_cuda(kg::nn::Module& network, Sgd& sgd, const Split& split,
                                             const LoaderOptions& options, bool graph) {
  return std::make_unique<StepsOnCuda>(network, sgd, split, options, graph);
}

}  // namespace mnist
