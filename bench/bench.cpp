#include "bench.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace bench {

void add(const std::string& name, Work work, std::function<std::function<void()>()> prepare) {
  const auto run = [work, prepare = std::move(prepare)](benchmark::State& state) {
    const kg::NoGrad no_grad;
    const std::function<void()> call = prepare();
    for (auto _ : state) call();
    const auto rate = [&](std::int64_t per_call) {
      return benchmark::Counter(1e-9 * static_cast<double>(per_call),
                                benchmark::Counter::kIsIterationInvariantRate);
    };
    if (work.flops > 0) state.counters["GFLOP/s"] = rate(work.flops);
    state.counters["GB/s"] = rate(work.bytes);
  };
  benchmark::RegisterBenchmark(name.c_str(), run)->UseRealTime()->Unit(benchmark::kMicrosecond);
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
  return tensor;
}

}  // namespace bench

namespace {

void print_help() {
  std::puts(
      "Times every operation by itself, in float32 on the CPU; see also compare_ops.\n\n"
      "usage: kernelgrad_bench [--threads=N] [--benchmark_...]\n\n"
      "  --threads=N                    CPU threads (default: OMP_NUM_THREADS, else every core)\n"
      "  --benchmark_filter=REGEX       which benchmarks, e.g. conv2d_forward or 's7|pool'\n"
      "  --benchmark_list_tests         only list their names\n"
      "  --benchmark_min_time=SECONDS   how long to measure each\n"
      "  --benchmark_format=console|json|csv\n\n"
      "GB/s counts every argument and result once, GFLOP/s every multiplication and addition.");
}

}  // namespace

int main(int argc, char** argv) try {
  benchmark::Initialize(&argc, argv, print_help);
  constexpr std::string_view threads_flag = "--threads=";
  if (argc == 2 && std::string_view(argv[1]).starts_with(threads_flag)) {
    kg::set_num_threads(std::stoi(argv[1] + threads_flag.size()));
    --argc;
  }
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("threads", std::to_string(kg::num_threads()));
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "kernelgrad_bench: %s\n", error.what());
  return 1;
}
