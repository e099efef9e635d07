// SPDX-License-Identifier: MIT
#include "bench.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string_view>

#include "convolutions.h"
#include "core/storage.h"

namespace bench {

namespace {

kg::Device chosen_device;
/// What the device can do at best, for the share of the roof; 0 where unknown.
double peak_gflops = 0, peak_gbs = 0;

/// How many calls are queued on a GPU before their end is waited for: a wait after each would be timed with
/// it.
constexpr int calls_per_wait = 100;

void wait() { kg::functions_of(chosen_device).synchronize(); }

void run(benchmark::State& state, const Work& work, const std::function<void()>& call) {
  std::optional<kg::NoGrad> no_grad;
  if (!work.trains) no_grad.emplace();
  const int calls = chosen_device.is_cuda() ? calls_per_wait : 1;
  call();  // whatever happens only once
  wait();
  while (state.KeepRunningBatch(calls)) {
    for (int i = 0; i < calls; ++i) call();
    wait();
  }
  const auto rate = [](double per_call) {
    return benchmark::Counter(per_call, benchmark::Counter::kIsIterationInvariantRate);
  };
  if (work.flops > 0) state.counters["GFLOP/s"] = rate(1e-9 * static_cast<double>(work.flops));
  if (work.bytes > 0) state.counters["GB/s"] = rate(1e-9 * static_cast<double>(work.bytes));
  if (roof_seconds(work) > 0) state.counters["roof_%"] = rate(100 * roof_seconds(work));
}

}  // namespace

kg::Device device() { return chosen_device; }

double roof_seconds(const Work& work) {
  const double compute = peak_gflops > 0 ? 1e-9 * static_cast<double>(work.flops) / peak_gflops : 0;
  const double memory = peak_gbs > 0 ? 1e-9 * static_cast<double>(work.bytes) / peak_gbs : 0;
  return std::max(compute, memory);
}

void add(const std::string& name, Work work, std::function<std::function<void()>()> prepare) {
  const auto body = [work, prepare = std::move(prepare)](benchmark::State& state) {
    run(state, work, prepare());
  };
  benchmark::RegisterBenchmark(name.c_str(), body)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

std::string shape_suffix(const kg::Shape& shape) {
  std::string suffix;
  for (const std::int64_t extent : shape) {
    suffix += suffix.empty() ? '/' : 'x';
    suffix += std::to_string(extent);
  }
  return suffix;
}

std::string option_suffix(const std::string& name, double value, double standard) {
  if (value == standard) return "";
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return "/" + name + ":" + text;
}

kg::Tensor random_tensor(const kg::Shape& shape) {
  kg::Tensor tensor = kg::Tensor::empty(shape);
  kg::RandomStream random(1, kg::RandomPurpose::user);
  for (float& value : tensor.span<float>()) value = static_cast<float>(random.uniform(-1, 1));
  return tensor.to(device());
}

kg::Tensor labels_for(const kg::Shape& shape) {
  std::vector<std::int64_t> labels;
  for (std::int64_t row = 0; row < shape[0]; ++row) labels.push_back(row % shape[1]);
  return kg::Tensor::from(labels, {shape[0]}, device());
}

namespace {

void print_help() {
  std::puts(
      "Times every operation by itself, in float32; see also compare_ops.\n\n"
      "usage: kernelgrad_bench [--device=NAME] [--kernels=POLICY] [--threads=N] [--benchmark_...]\n"
      "       kernelgrad_bench --device=cuda --compare[=TEXT]\n\n"
      "  --device=cpu|cuda              where to run (default: cpu)\n"
      "  --kernels=native|cudnn|fastest which kernels on cuda, also as OPERATION=POLICY,... (default: "
      "native)\n"
      "  --compare[=TEXT]               our convolutions beside cuDNN's, as a Markdown table: those of the "
      "MNIST\n"
      "                                 models and of ResNets, or the ones with TEXT in their row\n"
      "  --threads=N                    CPU threads (default: OMP_NUM_THREADS, else every core)\n"
      "  --peak-gflops=N --peak-gbs=N   what the device can do at best, for the share of the roof (default: "
      "a\n"
      "                                 GPU's own figures; unknown for a CPU)\n"
      "  --benchmark_filter=REGEX       which benchmarks, e.g. conv2d_forward or 's7|pool'\n"
      "  --benchmark_list_tests         only list their names\n"
      "  --benchmark_min_time=SECONDS   how long to measure each\n"
      "  --benchmark_format=console|json|csv\n\n"
      "GB/s counts every argument and result once, GFLOP/s every multiplication and addition, roof_% is the "
      "time\n"
      "that the slower of the two takes at the device's peak as a share of the time measured.");
}

/// The value of an argument "--name=value".
bool matches(std::string_view argument, std::string_view name, std::string& value) {
  if (!argument.starts_with(name) || argument.size() <= name.size() || argument[name.size()] != '=')
    return false;
  value = argument.substr(name.size() + 1);
  return true;
}

double positive(const std::string& text, const char* name) {
  std::size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
  }
  if (used != text.size() || !(value > 0))
    throw kg::Error(std::string(name) + "=" + text + ": expected a positive number");
  return value;
}

}  // namespace

void choose_device(const std::string& name) {
  chosen_device = kg::Device::parse(name);
  if (!chosen_device.is_cuda()) return;
  const kg::kernels::cuda::Peaks peaks = kg::kernels::cuda::peaks();
  if (peak_gflops == 0) peak_gflops = peaks.gflops;
  if (peak_gbs == 0) peak_gbs = peaks.gbs;
}

void choose_kernels(const std::string& policy) {
  if (!chosen_device.is_cuda()) throw kg::Error("--kernels is for --device=cuda");
  kg::set_kernel_policy(policy);
}

/// What this program does instead of running the benchmarks.
struct Comparison {
  bool wanted = false;
  std::string text;
};

/// Takes this program's own options; Google Benchmark has taken its own before.
Comparison parse_options(int& count, char** arguments) {
  std::string value, device = "cpu", kernels;
  Comparison comparison;
  int kept = 1;
  for (int i = 1; i < count; ++i) {
    if (matches(arguments[i], "--device", value))
      device = value;
    else if (matches(arguments[i], "--kernels", value))
      kernels = value;
    else if (std::string_view(arguments[i]) == "--compare")
      comparison = {true, ""};
    else if (matches(arguments[i], "--compare", value))
      comparison = {true, value};
    else if (matches(arguments[i], "--threads", value))
      kg::set_num_threads(static_cast<int>(positive(value, "--threads")));
    else if (matches(arguments[i], "--peak-gflops", value))
      peak_gflops = positive(value, "--peak-gflops");
    else if (matches(arguments[i], "--peak-gbs", value))
      peak_gbs = positive(value, "--peak-gbs");
    else
      arguments[kept++] = arguments[i];
  }
  count = kept;
  choose_device(device);
  if (!kernels.empty()) choose_kernels(kernels);
  return comparison;
}

int run_all(int count, char** arguments) {
  benchmark::Initialize(&count, arguments, print_help);
  const Comparison comparison = parse_options(count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 1;
  if (comparison.wanted) {
    compare_convolutions(comparison.text);
    return 0;
  }
  benchmark::AddCustomContext("threads", std::to_string(kg::num_threads()));
  benchmark::AddCustomContext(
      "device", device().is_cuda() ? "cuda (" + kg::kernels::cuda::device_name() + ")" : std::string("cpu"));
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace bench

int main(int count, char** arguments) try {
  return bench::run_all(count, arguments);
} catch (const std::exception& error) {
  std::fprintf(stderr, "kernelgrad_bench: %s\n", error.what());
  return 1;
}
