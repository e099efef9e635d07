// SPDX-License-Identifier: MIT
#include "dispatch/kernels.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>

#include "kernelgrad/backend.h"
#include "kernels/cudnn.h"
#include "kernels/device.h"
#include "kernels/graph.h"
#include "kernels/operations.h"
#include "kernels/variant.h"

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

constexpr std::span<const std::string_view> with_a_choice = kernels::operations_of_cudnn;
constexpr std::array<std::string_view, 3> policy_names = {"native", "cudnn", "fastest"};
constexpr const char* variable = "KERNELGRAD_KERNELS";

/// Index of a name among names; throws Error that lists them if it is not there.
std::size_t index_of(std::string_view name, std::span<const std::string_view> names, const char* what) {
  const auto found = std::ranges::find(names, name);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  std::string list;
  for (const std::string_view other : names) list.append(list.empty() ? "" : ", ").append(other);
  throw Error("kernel policy: unknown " + std::string(what) + " \"" + std::string(name) + "\", expected " +
              list);
}

KernelPolicy parse_policy(std::string_view name) {
  const KernelPolicy policy = static_cast<KernelPolicy>(index_of(name, policy_names, "policy"));
  if (policy == KernelPolicy::cudnn && !cudnn_is_available())
    throw Error("kernel policy: cudnn: " + cudnn_unavailable_reason());
  return policy;
}

using Policies = std::array<KernelPolicy, with_a_choice.size()>;

/// `policies`, changed as `text` says.
Policies parse_policies(std::string_view text, Policies policies) {
  if (text.find('=') == text.npos) {
    policies.fill(parse_policy(text));
    return policies;
  }
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find(','));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    const std::size_t equals = std::min(pair.find('='), pair.size());
    const std::size_t operation = index_of(pair.substr(0, equals), with_a_choice, "operation");
    policies[operation] = parse_policy(pair.substr(std::min(equals + 1, pair.size())));
  }
  return policies;
}

Policies policies_of_environment() {
  const char* text = std::getenv(variable);
  if (!text || !*text) return {};
  try {
    return parse_policies(text, {});
  } catch (const Error& error) {
    throw Error(std::string(variable) + "=" + text + ": " + error.what());
  }
}

/// Those in force, behind the lock of memory().
Policies& policies() {
  static Policies all = policies_of_environment();
  return all;
}

struct HashOfCall {
  std::size_t operator()(const Call& call) const {
    return call.problem.hash() ^ std::hash<std::string_view>()(call.function);
  }
};
struct SameCall {
  bool operator()(const Call& a, const Call& b) const {
    return a.operation == b.operation && a.function == b.function && a.like.dtype == b.like.dtype &&
           a.like.device == b.like.device && a.problem == b.problem;
  }
};

/// What the policies led to, and what was said about it.
struct Memory {
  std::mutex mutex;
  std::unordered_map<Call, Implementation, HashOfCall, SameCall> known;
  std::vector<BackendChoice> choices;
  std::set<std::string> said;
  std::function<void(const std::string&)> handler;
};

Memory& memory() {
  static Memory memory;
  return memory;
}

std::string name_of(const Call& call) {
  return std::string(call.operation) + " " + std::string(call.function);
}

std::optional<Implementation> recall(const Call& call) {
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

Backend backend_of(Implementation implementation) {
  return implementation == Implementation::cudnn ? Backend::cudnn : Backend::native;
}

void remember(const Call& call, Implementation used, const char* variant, const std::string& reason,
              const Times& times) {
  const std::lock_guard lock(memory().mutex);
  if (memory().known.size() >= max_remembered && times.native == 0) return;
  if (memory().known.emplace(call, used).second)
    memory().choices.push_back({.operation = name_of(call),
                                .problem = call.problem.text(),
                                .dtype = call.like.dtype,
                                .device = call.like.device,
                                .backend = backend_of(used),
                                .variant = variant,
                                .native_microseconds = times.native,
                                .cudnn_microseconds = times.cudnn,
                                .reason = reason});
}

/// Runs it, and remembers that.
Implementation run_as(const Call& call, Implementation implementation, const Work& run,
                      const std::string& reason, const Times& times = {}) {
  kernels::variant = nullptr;
  run(implementation);
  remember(call, implementation, kernels::variant ? kernels::variant : "", reason, times);
  return implementation;
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
Implementation run_other(const Call& call, Implementation unable, const Work& run,
                         const kernels::Unsupported& obstacle) {
  const Implementation other = unable == Implementation::cuda ? Implementation::cudnn : Implementation::cuda;
  run_as(call, other, run, obstacle.what());
  notice(name_of(call) + " of " + call.problem.text() + " (" + std::string(kg::name_of(call.like.dtype)) +
         "): " + std::string(kg::name_of(backend_of(other))) + " runs: " + obstacle.what());
  return other;
}

/// Time of a call among others in a busy queue, in microseconds.
double time_of(const Work& work, Implementation implementation) {
  constexpr int calls = 20;
  const auto synchronize = kernels::cuda::device().synchronize;
  synchronize();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) work(implementation);
  synchronize();
  const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - start;
  return taken.count() / calls;
}

/// The medians of times taken in turns, so that what disturbs a while disturbs both.
Times compare(const Work& rehearse) {
  std::array<double, 3> native, cudnn;
  for (std::size_t round = 0; round < native.size(); ++round) {
    native[round] = time_of(rehearse, Implementation::cuda);
    cudnn[round] = time_of(rehearse, Implementation::cudnn);
  }
  std::ranges::sort(native);
  std::ranges::sort(cudnn);
  return {.native = native[1], .cudnn = cudnn[1]};
}

Implementation run_fastest(const Call& call, const Work& run, const Work& rehearse) {
  if (!cudnn_is_available()) {
    notice("kernel policy fastest: native runs: " + cudnn_unavailable_reason());
    return run_as(call, Implementation::cuda, run, cudnn_unavailable_reason());
  }
  if (kernels::cuda::is_recording()) {
    notice(name_of(call) + " of " + call.problem.text() +
           ": native runs: it was first seen while work was being recorded for a graph, where nothing can be "
           "timed; run the work once before recording it");
    run(Implementation::cuda);
    return Implementation::cuda;  // and not remembered: the next time may be outside
  }
  // Once before the times are taken: plans are made, memory is fetched, and who cannot says so.
  for (const Implementation implementation : {Implementation::cudnn, Implementation::cuda}) try {
      rehearse(implementation);
    } catch (const kernels::Unsupported& obstacle) {
      return run_other(call, implementation, run, obstacle);
    }
  const Times times = compare(rehearse);
  return run_as(call, times.cudnn < times.native ? Implementation::cudnn : Implementation::cuda, run,
                "faster", times);
}

}  // namespace

Implementation run_by_policy(const Call& call, const Work& run, const Work& rehearse) {
  if (const std::optional<Implementation> known = recall(call)) {
    run(*known);
    return *known;
  }
  const bool cuda = call.like.device.is_cuda();
  if (!cuda || std::ranges::find(with_a_choice, call.operation) == with_a_choice.end())
    return run_as(call, cuda ? Implementation::cuda : Implementation::cpu, run, "the only one");
  const KernelPolicy policy = kernel_policy(call.operation);
  if (policy == KernelPolicy::fastest) return run_fastest(call, run, rehearse);
  const Implementation preferred =
      policy == KernelPolicy::native ? Implementation::cuda : Implementation::cudnn;
  try {
    return run_as(call, preferred, run, "asked for");
  } catch (const kernels::Unsupported& obstacle) {
    if (!cudnn_is_available()) throw;
    return run_other(call, preferred, run, obstacle);
  }
}

}  // namespace dispatch

using dispatch::memory;

std::string_view name_of(KernelPolicy policy) {
  return dispatch::policy_names[static_cast<std::size_t>(policy)];
}

std::string_view name_of(Backend backend) { return backend == Backend::native ? "native" : "cudnn"; }

std::vector<std::string_view> operations_with_a_choice() {
  return {dispatch::with_a_choice.begin(), dispatch::with_a_choice.end()};
}

void set_kernel_policy(std::string_view text) {
  {
    const std::lock_guard lock(memory().mutex);
    dispatch::policies() = dispatch::parse_policies(text, dispatch::policies());
  }
  forget_backend_choices();
}

void set_kernel_policy(KernelPolicy policy) { set_kernel_policy(name_of(policy)); }

void set_kernel_policy(std::string_view operation, KernelPolicy policy) {
  set_kernel_policy(std::string(operation) + "=" + std::string(name_of(policy)));
}

KernelPolicy kernel_policy(std::string_view operation) {
  const std::lock_guard lock(memory().mutex);
  return dispatch::policies()[dispatch::index_of(operation, dispatch::with_a_choice, "operation")];
}

CudnnOptions cudnn_options() {
  const auto [allow_tf32, deterministic] = kernels::cudnn::options();
  return {.allow_tf32 = allow_tf32, .deterministic = deterministic};
}

void set_cudnn_options(const CudnnOptions& options) {
  kernels::cudnn::set_options({.allow_tf32 = options.allow_tf32, .deterministic = options.deterministic});
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
