// SPDX-License-Identifier: MIT
#include "kernels/cpu/conv2d_blocks.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <utility>

#include "kernels/cpu/batch_norm_blocks.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/scratch.h"

namespace kg::kernels::cpu {

namespace {

/// [c_in][k_h][k_w][c_out] of the weight, which is [c_out][c_in][k_h][k_w].
template <class T>
Array<T> forward_weights(const Conv2dProblem& p, const T* weight) {
  const std::int64_t taps = p.c_in * p.k_h * p.k_w;
  Array<T> result(static_cast<std::size_t>(taps * p.c_out));
  for (std::int64_t o = 0; o < p.c_out; ++o)
    for (std::int64_t t = 0; t < taps; ++t)
      result[static_cast<std::size_t>(t * p.c_out + o)] = weight[o * taps + t];
  return result;
}

/// [c_out][k_h][k_w][c_in], the kernel turned by 180 degrees: the input gradient is a correlation of
/// grad_output with it.
template <class T>
Array<T> gradient_weights(const Conv2dProblem& p, const T* weight) {
  const std::int64_t taps = p.k_h * p.k_w;
  Array<T> result(static_cast<std::size_t>(p.c_out * taps * p.c_in));
  for (std::int64_t o = 0; o < p.c_out; ++o)
    for (std::int64_t c = 0; c < p.c_in; ++c)
      for (std::int64_t t = 0; t < taps; ++t)
        result[static_cast<std::size_t>((o * taps + taps - 1 - t) * p.c_in + c)] =
            weight[(o * p.c_in + c) * taps + t];
  return result;
}

/// Blocks whose products are summed in one sum of lanes: small maps share one, so that adding up lanes does
/// not take longer than the products. It depends on the problem alone, and so do the bits of the result.
std::int64_t blocks_per_sum(const Conv2dProblem& p) { return p.out_h() * p.out_w() < 200 ? 2 : 1; }

/// Products are summed in lanes over about so many pixels, then in double.
constexpr std::int64_t pixels_per_sum = 400;

/// A block of the input with its padding in memory, which the products read as pixels.
template <class T>
const T* padded(const Conv2dProblem& p, const T* block, T* memory) {
  if (p.padding_h == 0 && p.padding_w == 0) return block;
  const std::int64_t lanes = block_loops().of<T>()->lanes, row = p.w * lanes, gap = p.padding_w * lanes;
  T* to = memory;
  const auto zeros = [&](std::int64_t count) { to = std::fill_n(to, count, T(0)); };
  for (std::int64_t c = 0; c < p.c_in; ++c) {
    zeros(p.padding_h * (row + 2 * gap));
    for (std::int64_t y = 0; y < p.h; ++y, block += row) {
      zeros(gap);
      to = std::copy_n(block, row, to);
      zeros(gap);
    }
    zeros(p.padding_h * (row + 2 * gap));
  }
  return memory;
}

}  // namespace

template <class T>
bool takes_blocks(const Conv2dProblem& p) {
  if (p.stride_h != 1 || p.stride_w != 1 || p.dilation_h != 1 || p.dilation_w != 1 || p.groups != 1)
    return false;
  if (p.padding_h >= p.k_h || p.padding_w >= p.k_w) return false;
  // Lanes without an image cost as much as the others.
  const std::int64_t lanes = block_loops().of<T>()->lanes, computed = ceil_div(p.n, lanes) * lanes;
  if (computed > p.n + p.n / 4) return false;
  // The channels go through a block of input and one of output again and again. Up to here that is faster
  // than the loops over one image, with a second-level cache of 2 MB: era_model1 lost 14 % with a limit
  // of 1.5 MB.
  constexpr double cached = 3e6;
  const double in = static_cast<double>(p.c_in) * static_cast<double>(p.h) * static_cast<double>(p.w),
               out = static_cast<double>(p.c_out) * static_cast<double>(p.out_h()) *
                     static_cast<double>(p.out_w());
  return (in + out) * static_cast<double>(lanes) * sizeof(T) <= cached;
}
template bool takes_blocks<float>(const Conv2dProblem&);
template bool takes_blocks<double>(const Conv2dProblem&);

namespace {

/// Images behind a convolution that has yet to be computed: a batch norm's sums and a pooling find them in a
/// near cache, and in inference a block goes through many layers before the next one starts. The second
/// reader of a block keeps it in memory, so that none is computed more than twice.
template <class T>
class Convolved final : public Blocks<T> {
 public:
  Convolved(const Conv2dProblem& problem, std::shared_ptr<const Blocks<T>> input, const T* weight,
            const T* bias)
      : Blocks<T>(problem.n, problem.c_out, problem.out_h() * problem.out_w()),
        p_(problem),
        input_(std::move(input)),
        weights_(forward_weights(problem, weight)),
        bias_(bias, bias + (bias ? problem.c_out : 0)),
        states_(static_cast<std::size_t>(this->blocks())) {}
  /// One with a batch norm behind it, of another that has none.
  Convolved(const Convolved& other, const Array<Channel<T>>& batch_norm)
      : Blocks<T>(other),
        p_(other.p_),
        input_(other.input_),
        weights_(other.weights_),
        bias_(other.bias_),
        batch_norm_(batch_norm),
        states_(other.states_.size()) {}

  bool takes_batch_norm(const Array<Channel<T>>& channels) const {
    return batch_norm_.empty() && static_cast<std::int64_t>(channels.size()) == p_.c_out &&
           std::ranges::all_of(states_, [](const auto& state) { return state == State::unread; });
  }

  int depth() const override { return input_->depth() + 1; }

  const T* block(std::int64_t index, T* scratch) const override {
    std::atomic<State>& state = states_[static_cast<std::size_t>(index)];
    State expected = State::unread;
    if (!state.compare_exchange_strong(expected, State::read) && expected != State::being_kept)
      return keep(index);
    compute(index, scratch);
    return scratch;
  }

  std::shared_ptr<const StoredBlocks<T>> store(const typename Blocks<T>::Use& use) const override {
    parallel_for(this->blocks(), [&](std::int64_t index) {
      const T* block = keep(index);
      if (use) use(index, block);
    });
    return memory();
  }

 private:
  enum class State : std::uint8_t { unread, read, being_kept, kept };

  /// The block in memory.
  const T* keep(std::int64_t index) const {
    std::atomic<State>& state = states_[static_cast<std::size_t>(index)];
    T* const block = memory()->block(index);
    State seen = state;
    while (seen != State::kept) {
      if (seen == State::being_kept) {
        state.wait(seen);
        seen = state;
      } else if (state.compare_exchange_weak(seen, State::being_kept)) {
        const auto become = [&](State next) {
          state = next;
          state.notify_all();
        };
        try {
          compute(index, block);
        } catch (...) {
          become(State::unread);
          throw;
        }
        become(State::kept);
        break;
      }
    }
    return block;
  }

  const std::shared_ptr<StoredBlocks<T>>& memory() const {
    std::call_once(has_memory_, [this] {
      memory_ = std::make_shared<StoredBlocks<T>>(this->images(), this->channels(), this->plane());
    });
    return memory_;
  }

  void compute(std::int64_t index, T* output) const {
    // The input may be convolved itself, with memory of its own.
    thread_local std::array<Scratch<T>, max_depth + 1> memory;
    T* const scratch = memory[static_cast<std::size_t>(input_->depth())].reserve(input_->block_size());
    block_loops().of<T>()->correlate({.input = input_->block(index, scratch),
                                      .c_in = p_.c_in,
                                      .h = p_.h,
                                      .w = p_.w,
                                      .c_out = p_.c_out,
                                      .k_h = p_.k_h,
                                      .k_w = p_.k_w,
                                      .padding_h = p_.padding_h,
                                      .padding_w = p_.padding_w,
                                      .weights = weights_.data(),
                                      .bias = bias_.empty() ? nullptr : bias_.data(),
                                      .batch_norm = batch_norm_.empty() ? nullptr : batch_norm_.data(),
                                      .output = output});
  }

  const Conv2dProblem p_;
  const std::shared_ptr<const Blocks<T>> input_;
  const Array<T> weights_, bias_;
  const Array<Channel<T>> batch_norm_;
  mutable Array<std::atomic<State>> states_;
  mutable std::once_flag has_memory_;
  mutable std::shared_ptr<StoredBlocks<T>> memory_;
};

}  // namespace

template <class T>
void conv2d_forward(const Conv2dProblem& p, std::shared_ptr<const Blocks<T>> input, bool is_plain,
                    const T* weight, const T* bias, Output<T> output) {
  const bool is_deep = input->depth() >= max_depth;
  const std::shared_ptr<const Blocks<T>> result =
      std::make_shared<Convolved<T>>(p, std::move(input), weight, bias);
  output.keep(is_plain || is_deep ? stored(result) : result);
}
template void conv2d_forward(const Conv2dProblem&, std::shared_ptr<const Blocks<float>>, bool, const float*,
                             const float*, Output<float>);
template void conv2d_forward(const Conv2dProblem&, std::shared_ptr<const Blocks<double>>, bool, const double*,
                             const double*, Output<double>);

template <class T>
std::shared_ptr<const Blocks<T>> with_batch_norm(const std::shared_ptr<const Blocks<T>>& images,
                                                 const Array<Channel<T>>& channels) {
  const auto convolved = std::dynamic_pointer_cast<const Convolved<T>>(images);
  if (!convolved || !convolved->takes_batch_norm(channels)) return nullptr;
  return std::make_shared<Convolved<T>>(*convolved, channels);
}
template std::shared_ptr<const Blocks<float>> with_batch_norm(const std::shared_ptr<const Blocks<float>>&,
                                                              const Array<Channel<float>>&);
template std::shared_ptr<const Blocks<double>> with_batch_norm(const std::shared_ptr<const Blocks<double>>&,
                                                               const Array<Channel<double>>&);

namespace {

/// Both gradients, a block at a time: the gradient of the output and the input are in a near cache for both.
template <class T>
class Backward {
 public:
  Backward(const Conv2dProblem& problem, const std::shared_ptr<const Blocks<T>>& input, const T* weight,
           const Blocks<T>& grad_output, bool wants_input, bool wants_weight)
      : p_(problem), input_(input), grad_output_(grad_output) {
    if (wants_weight) totals_.resize(static_cast<std::size_t>(parts() * sum_count()));
    if (!wants_input) return;
    weights_ = gradient_weights(p_, weight);
    // Where a batch norm stands in front, its sums are added up on the way.
    if (auto normalized = std::dynamic_pointer_cast<const Normalized<T>>(input);
        normalized && normalized->has_stored_input())
      grad_input_ = with_sums_ = std::make_shared<GradientOfNormalized<T>>(std::move(normalized));
    else
      grad_input_ = std::make_shared<StoredBlocks<T>>(p_.n, p_.c_in, p_.h * p_.w);
  }

  void run() {
    parallel_for(parts(), [this](std::int64_t part) { run_part(part); });
  }

  const std::shared_ptr<StoredBlocks<T>>& grad_input() const { return grad_input_; }

  void write_grad_weight(T* grad_weight) {
    const std::int64_t taps = sum_count() / p_.c_out;
    for (std::int64_t part = 1; part < parts(); ++part)
      for (std::int64_t k = 0; k < sum_count(); ++k)
        totals_[static_cast<std::size_t>(k)] += totals_[static_cast<std::size_t>(part * sum_count() + k)];
    for (std::int64_t o = 0; o < p_.c_out; ++o)
      for (std::int64_t t = 0; t < taps; ++t)
        grad_weight[o * taps + t] = static_cast<T>(totals_[static_cast<std::size_t>(t * p_.c_out + o)]);
  }

 private:
  std::int64_t parts() const { return ceil_div(grad_output_.blocks(), blocks_per_sum(p_)); }
  std::int64_t sum_count() const { return p_.c_in * p_.k_h * p_.k_w * p_.c_out; }

  void run_part(std::int64_t part) {
    thread_local Scratch<T> input_memory, gradient_memory, padded_memory, sum_memory;
    const BlockLoops<T>& loops = *block_loops().of<T>();
    const bool wants_weight = !totals_.empty();
    const std::int64_t lanes = loops.lanes, out_pixels = p_.out_h() * p_.out_w();
    T* sums = nullptr;
    if (wants_weight) {
      sums = sum_memory.reserve(sum_count() * lanes);
      std::fill_n(sums, sum_count() * lanes, T(0));
    }
    double* totals = totals_.data() + part * sum_count() * (wants_weight ? 1 : 0);
    std::int64_t summed = 0;
    const std::int64_t end = std::min((part + 1) * blocks_per_sum(p_), grad_output_.blocks());
    for (std::int64_t index = part * blocks_per_sum(p_); index < end; ++index) {
      const T* gradient = grad_output_.block(index, gradient_memory.reserve(grad_output_.block_size()));
      if (wants_weight) {
        const T* input = input_->block(index, input_memory.reserve(input_->block_size()));
        const std::int64_t padded_size =
            p_.c_in * (p_.h + 2 * p_.padding_h) * (p_.w + 2 * p_.padding_w) * lanes;
        loops.add_products({.input = padded(p_, input, padded_memory.reserve(padded_size)),
                            .c_in = p_.c_in,
                            .k_h = p_.k_h,
                            .k_w = p_.k_w,
                            .gradient = gradient,
                            .c_out = p_.c_out,
                            .out_h = p_.out_h(),
                            .out_w = p_.out_w(),
                            .sums = sums});
        summed += out_pixels;
        if (summed >= pixels_per_sum) {
          loops.add_up(sums, sum_count(), totals);
          summed = 0;
        }
      }
      if (grad_input_) write_grad_input(index, gradient);
    }
    if (wants_weight && summed > 0) loops.add_up(sums, sum_count(), totals);
  }

  void write_grad_input(std::int64_t index, const T* gradient) {
    block_loops().of<T>()->correlate({.input = gradient,
                                      .c_in = p_.c_out,
                                      .h = p_.out_h(),
                                      .w = p_.out_w(),
                                      .c_out = p_.c_in,
                                      .k_h = p_.k_h,
                                      .k_w = p_.k_w,
                                      .padding_h = p_.k_h - 1 - p_.padding_h,
                                      .padding_w = p_.k_w - 1 - p_.padding_w,
                                      .weights = weights_.data(),
                                      .bias = nullptr,
                                      .batch_norm = nullptr,
                                      .output = grad_input_->block(index)});
    if (with_sums_) with_sums_->add_up(index);
  }

  const Conv2dProblem p_;
  const std::shared_ptr<const Blocks<T>>& input_;
  const Blocks<T>& grad_output_;
  Array<T> weights_;
  Array<double> totals_;  ///< [parts][c_in][k_h][k_w][c_out]
  std::shared_ptr<StoredBlocks<T>> grad_input_;
  std::shared_ptr<GradientOfNormalized<T>> with_sums_;
};

}  // namespace

template <class T>
void conv2d_backward(const Conv2dProblem& p, const std::shared_ptr<const Blocks<T>>& input, const T* weight,
                     const Blocks<T>& grad_output, Output<T> grad_input, T* grad_weight) {
  Backward<T> backward(p, input, weight, grad_output, static_cast<bool>(grad_input), grad_weight != nullptr);
  backward.run();
  if (grad_weight) backward.write_grad_weight(grad_weight);
  if (grad_input) grad_input.keep(backward.grad_input());
}
template void conv2d_backward(const Conv2dProblem&, const std::shared_ptr<const Blocks<float>>&, const float*,
                              const Blocks<float>&, Output<float>, float*);
template void conv2d_backward(const Conv2dProblem&, const std::shared_ptr<const Blocks<double>>&,
                              const double*, const Blocks<double>&, Output<double>, double*);

}  // namespace kg::kernels::cpu
