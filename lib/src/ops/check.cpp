#include "ops/check.h"

#include "core/tensor_impl.h"

namespace kg::check {

std::string Argument::described() const {
  return std::string(op) + ": " + std::string(name) + " is " +
         (tensor.defined() ? kg::described(tensor) : "undefined");
}

void is_floating(const Argument& argument) {
  if (!argument.tensor.defined() || !is_floating_point(argument.tensor.dtype()))
    throw Error(argument.described() + ", expected float32 or float64");
}

void matches(const Argument& argument, const Argument& first) {
  is_floating(argument);
  if (argument.tensor.dtype() != first.tensor.dtype() || argument.tensor.device() != first.tensor.device())
    throw Error(argument.described() + ", expected " + std::string(name_of(first.tensor.dtype())) + " on " +
                first.tensor.device().name() + " as " + std::string(first.name));
}

void has_rank(const Argument& argument, int rank, std::string_view meaning) {
  if (!argument.tensor.defined() || argument.tensor.dim() != rank)
    throw Error(argument.described() + ", expected " + std::to_string(rank) + " dimensions " +
                std::string(meaning));
}

void has_shape(const Argument& argument, const Shape& expected, std::string_view meaning) {
  if (!argument.tensor.defined() || argument.tensor.shape() != expected)
    throw Error(argument.described() + ", expected shape " + to_string(expected) + " " +
                std::string(meaning));
}

void is_sensible(std::string_view op, std::string_view option, std::int64_t value, std::int64_t smallest) {
  constexpr std::int64_t largest = std::int64_t{1} << 30;
  if (value < smallest || value > largest)
    fail(op, std::string(option) + " = " + std::to_string(value) + ", expected " + std::to_string(smallest) +
                 " to " + std::to_string(largest));
}

void fail(std::string_view op, const std::string& what) { throw Error(std::string(op) + ": " + what); }

}  // namespace kg::check
