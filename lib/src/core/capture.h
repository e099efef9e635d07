#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernelgrad/ops.h"
#include "kernelgrad/tensor.h"

namespace kg {

/// What a recording of work (kg::Graph) must know about the random draws inside it: the number of a draw is
/// not a constant of the recording but counts on from replay to replay. The kernels add a word of device
/// memory to the number that was recorded.
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
  /// Ends the recording: the generators stand again where they stood before it. Called by the destructor too.
  void finish();

  const std::vector<Source>& sources() const { return sources_; }
  std::uint64_t* word(std::size_t source) const;

 private:
  Tensor words_;  ///< one for each source
  std::vector<Source> sources_;
};

}  // namespace kg
