// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>
#include <cstdlib>
#include <mutex>
#include <span>

#include "kernelgrad/backend.h"
#include "kernelgrad/error.h"
#include "kernels/operations.h"

namespace kg {

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

std::mutex mutex;

/// Those in force, behind the mutex.
Policies& policies() {
  static Policies all = policies_of_environment();
  return all;
}

}  // namespace

std::string_view name_of(KernelPolicy policy) { return policy_names[static_cast<std::size_t>(policy)]; }

std::vector<std::string_view> operations_with_a_choice() {
  return {with_a_choice.begin(), with_a_choice.end()};
}

void set_kernel_policy(std::string_view text) {
  {
    const std::lock_guard lock(mutex);
    policies() = parse_policies(text, policies());
  }
  forget_backend_choices();
}

void set_kernel_policy(KernelPolicy policy) { set_kernel_policy(name_of(policy)); }

void set_kernel_policy(std::string_view operation, KernelPolicy policy) {
  set_kernel_policy(std::string(operation) + "=" + std::string(name_of(policy)));
}

KernelPolicy kernel_policy(std::string_view operation) {
  const std::lock_guard lock(mutex);
  return policies()[index_of(operation, with_a_choice, "operation")];
}

}  // namespace kg
