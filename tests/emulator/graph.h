// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "device_memory.h"
#include "stream.h"

/// Stream capture and graphs. A capture covers one stream; a graph's nodes run in the order of their
/// recording.
namespace emulator {

/// What a graph and its executable share; lives as long as either, or as a replay that is queued.
class GraphBody {
 public:
  GraphBody() = default;
  GraphBody(const GraphBody&) = delete;
  GraphBody& operator=(const GraphBody&) = delete;
  /// Gives back the memory that was allocated while recording.
  ~GraphBody();

  /// The memory's address belongs to this graph from now on.
  void add_memory(Allocation&);
  void note_freed_inside(Allocation&);
  void note_freed_outside(Allocation&);

  /// Before a replay: cudaErrorInvalidValue if memory that an earlier one allocated has not been freed.
  cudaError_t begin_replay(bool free_on_launch, CUstream_st&);
  void replay() const;

  std::vector<Work> nodes;

 private:
  struct Memory {
    Allocation* allocation;
    bool freed_inside = false;
    bool outstanding = false;  ///< a replay left it allocated
  };
  Memory& find(const Allocation&);

  std::vector<Memory> memory_;
};

/// A recording that goes on.
struct Capture {
  std::thread::id thread;
  cudaStreamCaptureMode mode;
  bool invalidated = false;
  std::shared_ptr<GraphBody> body = std::make_shared<GraphBody>();
};

inline bool belongs_to_graph(const Allocation& allocation) { return allocation.graph != nullptr; }

/// For calls that captures do not bear, like cudaMalloc(): success, or the captures that mind are
/// invalidated.
cudaError_t forbid_in_captures();
/// For calls that the capture of this stream does not bear, like its synchronisation.
cudaError_t forbid_in_capture(CUstream_st&);

}  // namespace emulator

struct CUgraph_st {
  std::shared_ptr<emulator::GraphBody> body;
};

struct CUgraphExec_st {
  std::shared_ptr<emulator::GraphBody> body;
  bool free_on_launch = false;
};
