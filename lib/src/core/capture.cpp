// SPDX-License-Identifier: MIT
#include "core/capture.h"

#include <algorithm>
#include <string>

#include "core/tensor_impl.h"

namespace kg {

namespace {

/// The words are allocated before the recording begins, when nobody knows yet how many generators will draw.
constexpr std::size_t max_sources = 16;

thread_local Capture* active_capture = nullptr;

}  // namespace

Capture* Capture::active() { return active_capture; }

Capture::Capture() {
  if (active_capture) throw Error("Graph: work that is being recorded cannot record a graph");
  words_ = Tensor::zeros({static_cast<std::int64_t>(max_sources)},
                         {.dtype = DType::int64, .device = Device::cuda()});
  active_capture = this;
}

Capture::~Capture() { finish(); }

void Capture::finish() {
  if (active_capture != this) return;
  active_capture = nullptr;
  *is_over_ = true;
  for (const Source& source : sources_) source.generator->set_state(source.seed, source.first_draw);
}

void Capture::note_write(const std::shared_ptr<Storage>& storage) {
  // On the CPU nothing is recorded: the work has written, and replays will not.
  if (storage->device().is_cuda() && !storage->is_recorded()) written_.insert(storage);
}

void Capture::begin_replay() const {
  if (std::ranges::any_of(used_, [](const auto& storage) { return storage.expired(); }))
    throw Error("Graph: a tensor that the recorded work uses is gone, and its memory with it");
  for (const std::weak_ptr<Storage>& storage : written_)
    if (const std::shared_ptr<Storage> written = storage.lock()) written->bump_version();
}

const std::uint64_t* Capture::note_draw(Generator& generator) {
  auto found = std::ranges::find(sources_, &generator, &Source::generator);
  if (found == sources_.end()) {
    if (sources_.size() == max_sources)
      throw Error("Graph: the work draws from more than " + std::to_string(max_sources) + " generators");
    found = sources_.insert(found, {&generator, generator.seed(), generator.draws()});
  }
  ++found->draws;
  return word(static_cast<std::size_t>(found - sources_.begin()));
}

std::uint64_t* Capture::word(std::size_t source) const { return raw<std::uint64_t>(words_) + source; }

}  // namespace kg
