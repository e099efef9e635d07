// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "core/storage.h"
#include "kernelgrad/random.h"
#include "kernelgrad/tensor.h"

namespace kg {

/// What a recording of work (kg::Graph) must know.
///
/// Of the random draws inside it: the number of a draw is not a constant of the recording but counts on from
/// replay to replay. The kernels add a word of device memory to the number that was recorded.
///
/// Of memory: what the work allocates is its own (Storage::is_recorded); what it uses of others every replay
/// uses, and what it overwrites every replay overwrites.
class Capture {
 public:
  /// A generator that the recorded work draws from.
  struct Source {
    Generator* generator;
    std::uint64_t seed, first_draw;
    std::uint64_t draws = 0;  ///< made by one run of the work
  };

  Capture();
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  /// The recording in progress on this thread, or nullptr.
  static Capture* active();

  /// The word of device memory for the draws of this generator, of which the work makes one more.
  const std::uint64_t* note_draw(Generator& generator);
  /// Told of all memory from before the recording that the work uses, and of what it overwrites.
  void note_use(std::weak_ptr<const Storage> storage) { used_.insert(std::move(storage)); }
  void note_write(const std::shared_ptr<Storage>&);
  /// Ends the recording: the generators stand again where they stood before it, and memory that the work has
  /// allocated and not released is lost. Called by the destructor too.
  void finish();
  /// Becomes true when the recording ends.
  std::shared_ptr<const std::atomic<bool>> is_over() const { return is_over_; }

  /// Bumps the versions of what a replay overwrites. Throws Error, having done nothing, if some memory that
  /// it uses has been released.
  void begin_replay() const;

  const std::vector<Source>& sources() const { return sources_; }
  std::uint64_t* word(std::size_t source) const;

 private:
  Tensor words_;  ///< one for each source
  std::vector<Source> sources_;
  std::set<std::weak_ptr<const Storage>, std::owner_less<>> used_;
  std::set<std::weak_ptr<Storage>, std::owner_less<>> written_;
  std::shared_ptr<std::atomic<bool>> is_over_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace kg
