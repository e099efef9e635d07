#include "backend/problem_text.h"

#include <initializer_list>

namespace kg::backend {

namespace {

std::string by(std::initializer_list<std::int64_t> extents) {
  std::string text;
  for (const std::int64_t extent : extents)
    text.append(text.empty() ? "" : "x").append(std::to_string(extent));
  return text;
}

/// " name 2x2", or nothing where both values are the default.
std::string option(const char* name, std::int64_t h, std::int64_t w, std::int64_t standard) {
  return h == standard && w == standard ? std::string() : std::string(name) + by({h, w});
}

}  // namespace

std::string describe(const kernels::Conv2dProblem& p) {
  const std::string groups = p.groups == 1 ? "" : " groups " + std::to_string(p.groups);
  return by({p.n, p.c_in, p.h, p.w}) + ", weight " + by({p.c_out, p.c_in / p.groups, p.k_h, p.k_w}) +
         option(" stride ", p.stride_h, p.stride_w, 1) + option(" padding ", p.padding_h, p.padding_w, 0) +
         option(" dilation ", p.dilation_h, p.dilation_w, 1) + groups;
}

std::string describe(const kernels::LinearProblem& p) {
  return std::to_string(p.rows) + " rows, " + std::to_string(p.in_features) + " -> " +
         std::to_string(p.out_features) + " features";
}

std::string describe(const kernels::BatchNormProblem& p) {
  std::string text = by({p.n, p.channels, p.plane});
  if (p.relu_before) text += ", relu before";
  if (p.relu_after) text += ", relu after";
  if (p.dropout.p > 0) text += ", dropout";
  return text;
}

std::string describe(const kernels::Pool2dProblem& p) {
  return std::to_string(p.planes) + " planes " + by({p.h, p.w}) + ", window " + by({p.k_h, p.k_w}) +
         option(" stride ", p.stride_h, p.stride_w, 1) + option(" padding ", p.padding_h, p.padding_w, 0);
}

}  // namespace kg::backend
