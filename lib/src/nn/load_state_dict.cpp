// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <sstream>
#include <utility>

#include "dispatch/types.h"
#include "kernelgrad/nn.h"

namespace kg::nn {

namespace {

/// What a state has under its names; nullptr for what is unreadable.
using Given = std::map<std::string_view, const Tensor*>;

/// The value as a To, unless a To cannot hold it. Floating-point numbers are rounded, integers are not.
template <class To, class From>
std::optional<To> held_as(From value) {
  if constexpr (std::is_integral_v<To> && std::is_integral_v<From>) {
    if (!std::in_range<To>(value)) return {};
  } else if constexpr (std::is_integral_v<To>) {
    const bool in_range = value >= static_cast<From>(std::numeric_limits<To>::min()) &&
                          value < std::ldexp(From(1), std::numeric_limits<To>::digits);
    if (!in_range || std::trunc(value) != value) return {};
  } else if (std::isfinite(value) && !std::isfinite(static_cast<To>(value))) {
    return {};
  }
  return static_cast<To>(value);
}

/// The tensor in another dtype. Throws Error with the rest of a sentence about the tensor if that cannot hold
/// all its numbers.
Tensor converted(const Tensor& tensor, DType dtype) {
  Tensor result = Tensor::empty(tensor.shape(), {.dtype = dtype});
  visit_any(tensor.dtype(), [&]<class From>(Type<From>) {
    visit_any(dtype, [&]<class To>(Type<To>) {
      std::ranges::transform(tensor.to_vector<From>(), result.data<To>(), [&](From value) {
        const std::optional<To> held = held_as<To>(value);
        if (!held) {
          std::ostringstream text;
          text << "holds " << +value << ", which " << name_of(dtype) << " cannot hold";
          throw Error(text.str());
        }
        return *held;
      });
    });
  });
  return result;
}

std::string kind_of(const Tensor& tensor) {
  return std::string(name_of(tensor.dtype())) + " " + to_string(tensor.shape());
}

/// The given tensor, fit to be copied into the module's own. Throws Error with the rest of a sentence about
/// the tensor if that is not possible.
Tensor fitted(const Tensor& given, const Tensor& own) {
  if (!given.defined()) throw Error("is undefined");
  const bool scalar_as_vector = own.shape().empty() && given.shape() == Shape{1};
  const bool floating = is_floating_point(own.dtype());
  if ((given.shape() != own.shape() && !scalar_as_vector) || (floating && !is_floating_point(given.dtype())))
    throw Error("is " + kind_of(given) + ", the module expects " + kind_of(own));
  const Tensor shaped = given.detach().reshape(own.shape());
  return given.dtype() == own.dtype() ? shaped : converted(shaped, own.dtype());
}

/// The prefix up to a dot that all names share with which the most of the module's names are there. Empty if
/// one of them is there as it is.
std::string wrapper_prefix(const Given& given, const StateDict& own) {
  if (given.empty() ||
      std::ranges::any_of(own, [&](const auto& entry) { return given.contains(entry.name); }))
    return {};
  // In the order of a map, what the first and the last name share all share.
  const std::string_view first = given.begin()->first, last = given.rbegin()->first;
  const std::string_view shared(first.begin(), std::ranges::mismatch(first, last).in1);
  std::map<std::size_t, int> matches_by_length;
  for (const NamedTensor& entry : own)
    for (const auto& [name, tensor] : given)
      if (name.ends_with("." + entry.name)) ++matches_by_length[name.size() - entry.name.size()];
  std::erase_if(matches_by_length, [&](const auto& candidate) { return candidate.first > shared.size(); });
  if (matches_by_length.empty()) return {};
  const auto best =
      std::ranges::max_element(matches_by_length, {}, &std::pair<const std::size_t, int>::second);
  return std::string(shared.substr(0, best->first));
}

/// Batch norm counts its batches for nobody but itself, and state of old or foreign programs lacks the count.
bool may_be_missing(std::string_view name) {
  constexpr std::string_view counter = "num_batches_tracked";
  return name == counter || name.ends_with("." + std::string(counter));
}

/// Everything that does not fit, for one message. What is no error by itself is told where something else is.
class Problems {
 public:
  void add(const std::string& problem, bool is_error = true) {
    if (++count_ <= most_told) text_ += (text_.empty() ? "" : "; ") + problem;
    any_error_ |= is_error;
  }
  void throw_if_any_error(const std::string& stripped_prefix) const {
    if (!any_error_) return;
    std::string text = "load_state_dict: " + text_;
    if (count_ > most_told) text += "; and " + std::to_string(count_ - most_told) + " more";
    if (!stripped_prefix.empty()) text += " (with the prefix " + in_quotes(stripped_prefix) + " taken off)";
    throw Error(text);
  }

 private:
  static constexpr std::size_t most_told = 1000;
  std::string text_;
  std::size_t count_ = 0;
  bool any_error_ = false;
};

}  // namespace

LoadResult Module::load_state_dict(const StateDict& state, const LoadOptions& options) try {
  Given given;
  Problems problems;
  for (const NamedTensor& entry : state)
    if (!given.emplace(entry.name, &entry.tensor).second)
      problems.add(in_quotes(entry.name) + " is given twice");
  for (const auto& [name, reason] : options.unreadable) given.emplace(name, nullptr);

  const StateDict own = state_dict();
  LoadResult result;
  result.stripped_prefix = wrapper_prefix(given, own);
  std::vector<std::pair<Tensor, Tensor>> copies;
  for (const NamedTensor& entry : own) {
    const auto found = given.find(result.stripped_prefix + entry.name);
    if (found == given.end()) {
      if (may_be_missing(entry.name)) continue;
      result.missing_keys.push_back(entry.name);
      problems.add(in_quotes(entry.name) + " is missing", options.strict);
      continue;
    }
    try {
      if (!found->second) throw Error("is " + options.unreadable.at(std::string(found->first)));
      copies.emplace_back(entry.tensor, fitted(*found->second, entry.tensor));
    } catch (const Error& error) {
      problems.add(in_quotes(entry.name) + " " + error.what());
    }
    given.erase(found);
  }
  for (const auto& [name, tensor] : given) {
    result.unexpected_keys.emplace_back(name);
    problems.add("the module has no " + in_quotes(name), options.strict);
  }
  problems.throw_if_any_error(result.stripped_prefix);
  for (auto& [to, from] : copies) to.copy_from(from);
  return result;
} catch (const std::bad_alloc&) {
  no_memory("load_state_dict");
}

}  // namespace kg::nn
