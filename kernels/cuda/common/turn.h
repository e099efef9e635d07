// SPDX-License-Identifier: MIT
#pragma once

namespace kg::kernels::cuda {

/// The right to queue work and to allocate memory, held for the length of a scope by whoever does. Many
/// threads have it at a time, but while one of them records work for a graph it alone: what the others queued
/// would be recorded too, so they wait for the end of the recording. It costs two uncontended locks, some 40
/// ns, where a launch takes 2 us or more. Scopes may be nested.
class Turn {
 public:
  Turn();
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
};

}  // namespace kg::kernels::cuda
