// SPDX-License-Identifier: MIT
#include "dispatch/kernels.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "kernels/cudnn.h"
#include "kernels/device.h"
#include "kernels/graph.h"
#include "kernels/operations.h"

namespace kg {

namespace kernels {

namespace {
thread_local const char* variant = nullptr;
}

void note_variant(const char* name) noexcept {
  if (!variant) variant = name;
}

}  // namespace kernels

namespace dispatch {

namespace {

struct HashOfCall {
  std::size_t operator()(const KernelCall& call) const {
    return call.problem.hash() ^ std::hash<std::string_view>()(call.function);
  }
};
struct SameCall {
  bool operator()(const KernelCall& a, const KernelCall& b) const {
    return a.operation == b.operation && a.function == b.function && a.like.dtype == b.like.dtype &&
           a.like.device == b.like.device && a.problem == b.problem;
  }
};

/// What the policies led to, and what was said about it.
struct Memory {
  std::mutex mutex;
  std::unordered_map<KernelCall, Backend, HashOfCall, SameCall> known;
  std::vector<BackendChoice> choices;
  std::set<std::string> said;
  std::function<void(const std::string&)> handler;
};

Memory& memory() {
  static Memory memory;
  return memory;
}

std::string name_of(const KernelCall& call) {
  return std::string(call.operation) + " " + std::string(call.function);
}

std::optional<Backend> recall(const KernelCall& call) {
  const std::lock_guard lock(memory().mutex);
  const auto found = memory().known.find(call);
  return found == memory().known.end() ? std::nullopt : std::optional(found->second);
}

struct Times {
  double native = 0, cudnn = 0;  ///< in microseconds
};

/// Only so many problems are remembered for which nothing had to be found out: a program may see ever new
/// ones.
constexpr std::size_t max_remembered = 10'000;

void remember(const KernelCall& call, Backend used, const char* variant, const std::string& reason,
              const Times& times) {
  const std::lock_guard lock(memory().mutex);
  if (memory().known.size() >= max_remembered && times.native == 0) return;
  if (memory().known.emplace(call, used).second)
    memory().choices.push_back({.operation = name_of(call),
                                .problem = call.problem.text(),
                                .dtype = call.like.dtype,
                                .device = call.like.device,
                                .backend = used,
                                .variant = variant,
                                .native_microseconds = times.native,
                                .cudnn_microseconds = times.cudnn,
                                .reason = reason});
}

/// Runs it, and remembers that.
Backend run_as(const KernelCall& call, Backend backend, const Work& run, const std::string& reason,
               const Times& times = {}) {
  kernels::variant = nullptr;
  run(backend);
  remember(call, backend, kernels::variant ? kernels::variant : "", reason, times);
  return backend;
}

/// Says it, unless it has been said before.
void notice(const std::string& message) {
  std::function<void(const std::string&)> handler;
  {
    const std::lock_guard lock(memory().mutex);
    if (!memory().said.insert(message).second) return;
    handler = memory().handler;
  }
  if (handler)
    handler(message);
  else
    std::fprintf(stderr, "kernelgrad: %s\n", message.c_str());
}

/// Runs the other of the two, the only one that can, and says so.
Backend run_other(const KernelCall& call, Backend unable, const Work& run,
                  const kernels::Unsupported& obstacle) {
  const Backend other = unable == Backend::native ? Backend::cudnn : Backend::native;
  run_as(call, other, run, obstacle.what());
  notice(name_of(call) + " of " + call.problem.text() + " (" + std::string(kg::name_of(call.like.dtype)) +
         "): " + std::string(kg::name_of(other)) + " runs: " + obstacle.what());
  return other;
}

/// Time of a call among others in a busy queue, in microseconds.
double time_of(const Work& work, Backend backend) {
  constexpr int calls = 20;
  const auto synchronize = kernels::cuda::device().synchronize;
  synchronize();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) work(backend);
  synchronize();
  const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - start;
  return taken.count() / calls;
}

/// The medians of times taken in turns, so that what disturbs a while disturbs both.
Times compare(const Work& rehearse) {
  std::array<double, 3> native, cudnn;
  for (std::size_t round = 0; round < native.size(); ++round) {
    native[round] = time_of(rehearse, Backend::native);
    cudnn[round] = time_of(rehearse, Backend::cudnn);
  }
  std::ranges::sort(native);
  std::ranges::sort(cudnn);
  return {.native = native[1], .cudnn = cudnn[1]};
}

Backend run_fastest(const KernelCall& call, const Work& run, const Work& rehearse) {
  if (!cudnn_is_available()) {
    notice("kernel policy fastest: native runs: " + cudnn_unavailable_reason());
    return run_as(call, Backend::native, run, cudnn_unavailable_reason());
  }
  if (kernels::cuda::is_recording()) {
    notice(name_of(call) + " of " + call.problem.text() +
           ": native runs: it was first seen while work was being recorded for a graph, where nothing can be "
           "timed; run the work once before recording it");
    run(Backend::native);
    return Backend::native;  // and not remembered: the next time may be outside
  }
  // Once before the times are taken: plans are made, memory is fetched, and who cannot says so.
  for (const Backend backend : {Backend::cudnn, Backend::native}) try {
      rehearse(backend);
    } catch (const kernels::Unsupported& obstacle) {
      return run_other(call, backend, run, obstacle);
    }
  const Times times = compare(rehearse);
  return run_as(call, times.cudnn < times.native ? Backend::cudnn : Backend::native, run, "faster", times);
}

}  // namespace

Backend run_by_policy(const KernelCall& call, const Work& run, const Work& rehearse) {
  if (const std::optional<Backend> known = recall(call)) {
    run(*known);
    return *known;
  }
  const auto& with_a_choice = kernels::operations_of_cudnn;
  if (call.like.device.is_cpu() || std::ranges::find(with_a_choice, call.operation) == with_a_choice.end())
    return run_as(call, Backend::native, run, "the only one");
  const KernelPolicy policy = kernel_policy(call.operation);
  if (policy == KernelPolicy::fastest) return run_fastest(call, run, rehearse);
  const Backend preferred = policy == KernelPolicy::native ? Backend::native : Backend::cudnn;
  try {
    return run_as(call, preferred, run, "asked for");
  } catch (const kernels::Unsupported& obstacle) {
    if (!cudnn_is_available()) throw;
    return run_other(call, preferred, run, obstacle);
  }
}

}  // namespace dispatch

using dispatch::memory;

std::string_view name_of(Backend backend) { return backend == Backend::native ? "native" : "cudnn"; }

CudnnOptions cudnn_options() { return kernels::cudnn::options(); }

void set_cudnn_options(const CudnnOptions& options) {
  kernels::cudnn::set_options(options);
  forget_backend_choices();
}

bool cudnn_is_available() { return kernels::cudnn::is_available(); }
std::string cudnn_unavailable_reason() { return kernels::cudnn::unavailable_reason(); }
std::string cudnn_version() { return kernels::cudnn::version(); }

std::vector<BackendChoice> backend_choices() {
  const std::lock_guard lock(memory().mutex);
  return memory().choices;
}

void forget_backend_choices() {
  const std::lock_guard lock(memory().mutex);
  memory().known.clear();
  memory().choices.clear();
}

void set_notice_handler(std::function<void(const std::string& message)> handler) {
  const std::lock_guard lock(memory().mutex);
  memory().handler = std::move(handler);
}

}  // namespace kg
