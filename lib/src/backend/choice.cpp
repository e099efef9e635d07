#include "backend/choice.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "kernelgrad/error.h"
#include "kernels/cudnn.h"
#include "kernels/device.h"
#include "kernels/graph.h"

namespace kg {

namespace backend {

namespace {

constexpr std::array<std::string_view, 7> operation_names = {
    "avg_pool2d", "batch_norm", "conv2d", "global_avg_pool2d", "linear", "log_softmax", "max_pool2d"};
constexpr std::size_t operation_count = operation_names.size();
constexpr std::array<std::string_view, 3> policy_names = {"native", "cudnn", "fastest"};
constexpr const char* variable = "KERNELGRAD_KERNELS";

/// The names with commas between them.
template <std::size_t n>
std::string list(const std::array<std::string_view, n>& names) {
  std::string text;
  for (const std::string_view name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

/// Index of a name among names; throws Error that lists them if it is not there.
template <std::size_t n>
std::size_t index_of(std::string_view name, const std::array<std::string_view, n>& names, const char* what) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end())
    throw Error("kernel policy: unknown " + std::string(what) + " \"" + std::string(name) + "\", expected " +
                list(names));
  return static_cast<std::size_t>(found - names.begin());
}

KernelPolicy parse_policy(std::string_view name) {
  const KernelPolicy policy = static_cast<KernelPolicy>(index_of(name, policy_names, "policy"));
  if (policy == KernelPolicy::cudnn && !cudnn_is_available())
    throw Error("kernel policy: cudnn: " + cudnn_unavailable_reason());
  return policy;
}

using Policies = std::array<KernelPolicy, operation_count>;

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
    const std::size_t operation = index_of(pair.substr(0, equals), operation_names, "operation");
    policies[operation] = parse_policy(pair.substr(std::min(equals + 1, pair.size())));
  }
  return policies;
}

/// The policies in force. Read at every call, so not behind the lock.
class CurrentPolicies {
 public:
  CurrentPolicies() {
    if (const char* text = std::getenv(variable); text && *text) try {
        set(parse_policies(text, {}));
      } catch (const Error& error) {
        throw Error(std::string(variable) + "=" + text + ": " + error.what());
      }
  }

  KernelPolicy operator[](std::size_t operation) const {
    return policies_[operation].load(std::memory_order_relaxed);
  }
  Policies all() const {
    Policies policies;
    for (std::size_t i = 0; i < operation_count; ++i) policies[i] = (*this)[i];
    return policies;
  }
  void set(const Policies& policies) {
    for (std::size_t i = 0; i < operation_count; ++i)
      policies_[i].store(policies[i], std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<KernelPolicy>, operation_count> policies_{};
};

CurrentPolicies& current_policies() {
  static CurrentPolicies policies;
  return policies;
}

/// What was chosen, and what was said about it.
struct Memory {
  using Key = std::tuple<Operation, std::string, DType, std::string>;

  std::mutex mutex;
  std::map<Key, std::size_t> index;  ///< in `choices`
  std::vector<BackendChoice> choices;
  std::set<std::string> said;
  std::function<void(const std::string&)> handler;
};

Memory& memory() {
  static Memory memory;
  return memory;
}

Memory::Key key_of(const Call& call) {
  return {call.operation, std::string(call.function), call.dtype, call.problem};
}

std::string name_of(const Call& call) {
  return std::string(operation_names[static_cast<std::size_t>(call.operation)]) + " " +
         std::string(call.function);
}

std::optional<Backend> recall(const Call& call) {
  const std::lock_guard lock(memory().mutex);
  const auto found = memory().index.find(key_of(call));
  if (found == memory().index.end()) return std::nullopt;
  return memory().choices[found->second].backend;
}

struct Times {
  double native = 0, cudnn = 0;  ///< in microseconds
};

Backend remember(const Call& call, Backend backend, const std::string& reason, const Times& times = {}) {
  const std::lock_guard lock(memory().mutex);
  if (memory().index.emplace(key_of(call), memory().choices.size()).second)
    memory().choices.push_back({.operation = name_of(call),
                                .problem = call.problem,
                                .dtype = call.dtype,
                                .backend = backend,
                                .native_microseconds = times.native,
                                .cudnn_microseconds = times.cudnn,
                                .reason = reason});
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

/// Remembers that only `backend` can do it, and says so.
Backend remember_only(const Call& call, Backend backend, const kernels::Unsupported& obstacle) {
  notice(name_of(call) + " of " + call.problem + " (" + std::string(kg::name_of(call.dtype)) +
         "): " + std::string(kg::name_of(backend)) + " runs: " + obstacle.what());
  return remember(call, backend, obstacle.what());
}

Backend other_than(Backend backend) { return backend == Backend::native ? Backend::cudnn : Backend::native; }

Backend run_preferred(const Call& call, Backend preferred, const Way& way, const Way& other_way) {
  try {
    way.run();
    return remember(call, preferred, "asked for");
  } catch (const kernels::Unsupported& obstacle) {
    other_way.run();
    return remember_only(call, other_than(preferred), obstacle);
  }
}

/// Time of a call among others in a busy queue, in microseconds.
double time_of(const std::function<void()>& work) {
  constexpr int calls = 20;
  const auto synchronize = kernels::cuda::device().synchronize;
  synchronize({});
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) work();
  synchronize({});
  const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - start;
  return taken.count() / calls;
}

/// The medians of times taken in turns, so that what disturbs a while disturbs both.
Times compare(const Way& native, const Way& cudnn) {
  std::array<double, 3> native_times, cudnn_times;
  for (std::size_t round = 0; round < native_times.size(); ++round) {
    native_times[round] = time_of(native.rehearse);
    cudnn_times[round] = time_of(cudnn.rehearse);
  }
  std::ranges::sort(native_times);
  std::ranges::sort(cudnn_times);
  return {.native = native_times[1], .cudnn = cudnn_times[1]};
}

Backend find_fastest(const Call& call, const Way& native, const Way& cudnn) {
  // Once before the times are taken: plans are made, memory is fetched, and who cannot says so.
  try {
    cudnn.rehearse();
  } catch (const kernels::Unsupported& obstacle) {
    native.rehearse();
    return remember_only(call, Backend::native, obstacle);
  }
  try {
    native.rehearse();
  } catch (const kernels::Unsupported& obstacle) {
    return remember_only(call, Backend::cudnn, obstacle);
  }
  const Times times = compare(native, cudnn);
  return remember(call, times.cudnn < times.native ? Backend::cudnn : Backend::native, "faster", times);
}

Backend run_fastest(const Call& call, const Way& native, const Way& cudnn) {
  if (!cudnn_is_available()) {
    notice("kernel policy fastest: native runs: " + cudnn_unavailable_reason());
    native.run();
    return remember(call, Backend::native, cudnn_unavailable_reason());
  }
  if (kernels::cuda::is_recording()) {
    notice(name_of(call) + " of " + call.problem +
           ": native runs: it was first seen while work was being recorded for a graph, where nothing can be "
           "timed; run the work once before recording it");
    native.run();
    return Backend::native;  // and not remembered: the next time may be outside
  }
  const Backend backend = find_fastest(call, native, cudnn);
  (backend == Backend::native ? native : cudnn).run();
  return backend;
}

/// Puts policies in force, and forgets what others led to.
void put_in_force(const Policies& policies) {
  current_policies().set(policies);
  forget_backend_choices();
}

}  // namespace

KernelPolicy policy_of(Operation operation) {
  return current_policies()[static_cast<std::size_t>(operation)];
}

Backend make(const Call& call, const Way& native, const Way& cudnn) {
  if (const std::optional<Backend> known = recall(call)) {
    (*known == Backend::native ? native : cudnn).run();
    return *known;
  }
  switch (policy_of(call.operation)) {
    case KernelPolicy::native:
      return run_preferred(call, Backend::native, native, cudnn);
    case KernelPolicy::cudnn:
      return run_preferred(call, Backend::cudnn, cudnn, native);
    case KernelPolicy::fastest:
      break;
  }
  return run_fastest(call, native, cudnn);
}

}  // namespace backend

std::string_view name_of(KernelPolicy policy) {
  return backend::policy_names[static_cast<std::size_t>(policy)];
}

std::string_view name_of(Backend backend) { return backend == Backend::native ? "native" : "cudnn"; }

std::vector<std::string_view> operations_with_a_choice() {
  return {backend::operation_names.begin(), backend::operation_names.end()};
}

void set_kernel_policy(std::string_view text) {
  backend::put_in_force(backend::parse_policies(text, backend::current_policies().all()));
}

void set_kernel_policy(KernelPolicy policy) { set_kernel_policy(name_of(policy)); }

void set_kernel_policy(std::string_view operation, KernelPolicy policy) {
  set_kernel_policy(std::string(operation) + "=" + std::string(name_of(policy)));
}

KernelPolicy kernel_policy(std::string_view operation) {
  return backend::current_policies()[backend::index_of(operation, backend::operation_names, "operation")];
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
  const std::lock_guard lock(backend::memory().mutex);
  return backend::memory().choices;
}

void forget_backend_choices() {
  const std::lock_guard lock(backend::memory().mutex);
  backend::memory().index.clear();
  backend::memory().choices.clear();
}

void set_notice_handler(std::function<void(const std::string& message)> handler) {
  const std::lock_guard lock(backend::memory().mutex);
  backend::memory().handler = std::move(handler);
}

}  // namespace kg
