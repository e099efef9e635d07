// SPDX-License-Identifier: MIT
#include "convolutions.h"

#include <cstdio>
#include <set>

namespace bench {

namespace {

using kg::kernels::Conv2dProblem;

kg::Shape input_shape(const Conv2dProblem& p) { return {p.n, p.c_in, p.h, p.w}; }
kg::Shape weight_shape(const Conv2dProblem& p) { return {p.c_out, p.c_in / p.groups, p.k_h, p.k_w}; }
kg::Shape output_shape(const Conv2dProblem& p) { return {p.n, p.c_out, p.out_h(), p.out_w()}; }

/// The 3x3 and 1x1 convolutions of ResNet's four stages, and those that lead from one to the next.
std::vector<Conv2dProblem> resnet_convolutions() {
  constexpr std::int64_t images = 32;
  std::vector<Conv2dProblem> problems;
  for (std::int64_t channels = 64, size = 56; channels <= 512; channels *= 2, size /= 2) {
    const Conv2dProblem same{.n = images,
                             .c_in = channels,
                             .h = size,
                             .w = size,
                             .c_out = channels,
                             .k_h = 3,
                             .k_w = 3,
                             .padding_h = 1,
                             .padding_w = 1};
    problems.push_back(same);
    Conv2dProblem expanding = same;
    expanding.c_out = 4 * channels;
    expanding.k_h = expanding.k_w = 1;
    expanding.padding_h = expanding.padding_w = 0;
    problems.push_back(expanding);
    if (channels == 512) break;
    Conv2dProblem down = same;
    down.c_out = 2 * channels;
    down.stride_h = down.stride_w = 2;
    problems.push_back(down);
  }
  return problems;
}

std::vector<ConvolutionSource::List>& sources() {
  static std::vector<ConvolutionSource::List> sources;
  return sources;
}

const ConvolutionSource resnets(resnet_convolutions);

/// What was measured for the call.
kg::BackendChoice choice_of(const std::function<void()>& call) {
  kg::forget_backend_choices();
  call();
  return kg::backend_choices().at(0);
}

void print_row(const Conv2dProblem& problem, const kg::BackendChoice& choice) {
  const double roof = 1e6 * roof_seconds(work_of(problem));
  const double native = choice.native_microseconds, cudnn = choice.cudnn_microseconds;
  if (native == 0 || cudnn == 0) {
    std::printf("| %s | %s | | | %.1f | | | only %s: %s |\n", choice.problem.c_str(),
                choice.operation.c_str() + sizeof "conv2d", roof, kg::name_of(choice.backend).data(),
                choice.reason.c_str());
    return;
  }
  std::printf("| %s | %s | %.1f | %.1f | %.1f | %.0f | %.0f | %s %.2fx |\n", choice.problem.c_str(),
              choice.operation.c_str() + sizeof "conv2d", native, cudnn, roof, 100 * roof / native,
              100 * roof / cudnn, kg::name_of(choice.backend).data(),
              native < cudnn ? cudnn / native : native / cudnn);
}

void compare(const Conv2dProblem& problem) {
  for (const Direction direction :
       {Direction::forward, Direction::backward_input, Direction::backward_weight})
    print_row(problem, choice_of(call_of(problem, direction)));
  std::fflush(stdout);
}

}  // namespace

ConvolutionSource::ConvolutionSource(List list) { sources().push_back(list); }

Work work_of(const Conv2dProblem& problem) {
  const std::int64_t outputs = kg::numel(output_shape(problem)), weights = kg::numel(weight_shape(problem));
  return {.bytes = float_bytes(kg::numel(input_shape(problem)) + weights + outputs),
          .flops = 2 * outputs * weights / problem.c_out};
}

std::function<void()> call_of(const Conv2dProblem& problem, Direction direction) {
  const kg::Tensor input = random_tensor(input_shape(problem)), weight = random_tensor(weight_shape(problem)),
                   output = random_tensor(output_shape(problem));
  const auto call = [=]<class T>(const kg::kernels::Conv2dKernels<T>& kernels) {
    auto* const x = kg::raw<T>(input);
    auto* const w = kg::raw<T>(weight);
    auto* const y = kg::raw<T>(output);
    if (direction == Direction::forward) kernels.forward(problem, x, w, nullptr, y);
    if (direction == Direction::backward_input) kernels.backward_input(problem, y, w, x);
    if (direction == Direction::backward_weight) kernels.backward_weight(problem, x, y, w);
  };
  constexpr const char* functions[] = {"forward", "backward_input", "backward_weight"};
  return [=, function = functions[static_cast<int>(direction)]] {
    run<kg::kernels::Conv2dKernels>(function, problem.description(), call);
  };
}

void compare_convolutions(const std::string& text) {
  if (!device().is_cuda()) throw kg::Error("--compare is for --device=cuda");
  if (!kg::cudnn_is_available()) throw kg::Error("--compare: " + kg::cudnn_unavailable_reason());
  kg::set_kernel_policy("conv2d=fastest");
  std::printf("%s, %s, float32, medians of 3 rounds of 20 calls in turns\n\n", kg::cuda_device_name().c_str(),
              kg::cudnn_version().c_str());
  std::puts("| convolution | direction | native us | cudnn us | roof us | native % | cudnn % | faster |");
  std::puts("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |");
  std::set<std::string> seen;
  for (const ConvolutionSource::List list : sources())
    for (const Conv2dProblem& problem : list()) {
      const std::string row = problem.description().text();
      if (row.find(text) != row.npos && seen.insert(row).second) compare(problem);
    }
}

}  // namespace bench
