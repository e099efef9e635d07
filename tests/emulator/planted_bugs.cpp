// SPDX-License-Identifier: MIT
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "device_array.h"
#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/shared_memory.h"

/// The checker checked: `planted_bugs NAME` runs a program with one bug, `planted_bugs NAME mended` its
/// correct twin. How a bug shows depends on the build: planted_bug() in CMakeLists.txt has the list. A
/// comment "fault: NAME" marks the line that a report must name.

cudaStream_t kg::cuda::stream() { return nullptr; }
void kg::cuda::detail::note_launch(const char*) noexcept {}
kg::cuda::Turn::Turn() {}
kg::cuda::Turn::~Turn() {}

namespace kg::cuda {

namespace {

/// Several launches, so that the mixed orders all occur.
constexpr int repetitions = 8;
constexpr int block = 64;
constexpr float canary = 7;

using Array = DeviceArray<float>;

std::vector<float> counting(std::size_t size) {
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = static_cast<float>(i);
  return values;
}

void expect(const std::vector<float>& expected, const std::vector<float>& values) {
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (!(values[i] == expected[i])) {
      std::printf("wrong result: element %zu is %g, not %g\n", i, values[i], expected[i]);
      std::exit(1);
    }
}

constexpr std::size_t shared_bytes = SharedLayout().array<float>(block).array<float>(block).bytes();

// Races.

template <bool bug>
__global__ void missing_barrier_kernel(float* y) {
  SharedMemory shared;
  float* const tile = shared.array<float>(block);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  if constexpr (!bug) __syncthreads();
  y[threadIdx.x] = tile[block - 1 - threadIdx.x];  // fault: missing_barrier
}

template <bool bug>
void missing_barrier() {
  const Array y(block);
  std::vector<float> expected = counting(block);
  std::reverse(expected.begin(), expected.end());
  for (int i = 0; i < repetitions; ++i) {
    launch<missing_barrier_kernel<bug>>({.blocks = 1, .threads = block, .shared_bytes = shared_bytes},
                                        y.data());
    expect(expected, y.values());
  }
}

/// The second round overwrites what other threads still read of the first.
template <bool bug>
__global__ void missing_second_barrier_kernel(float* y) {
  SharedMemory shared;
  float* const tile = shared.array<float>(block);
  float sum = 0;
  for (int round = 0; round < 2; ++round) {
    tile[threadIdx.x] = static_cast<float>(threadIdx.x + round);  // fault: missing_second_barrier
    __syncthreads();
    sum += tile[block - 1 - threadIdx.x];
    if constexpr (!bug) __syncthreads();
  }
  y[threadIdx.x] = sum;
}

template <bool bug>
void missing_second_barrier() {
  const Array y(block);
  std::vector<float> expected(block);
  for (int i = 0; i < block; ++i) expected[i] = static_cast<float>(2 * (block - 1 - i) + 1);
  for (int i = 0; i < repetitions; ++i) {
    launch<missing_second_barrier_kernel<bug>>({.blocks = 1, .threads = block, .shared_bytes = shared_bytes},
                                               y.data());
    expect(expected, y.values());
  }
}

template <bool bug>
__global__ void missing_syncwarp_kernel(float* y) {
  SharedMemory shared;
  float* const tile = shared.array<float>(block);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  if constexpr (!bug) __syncwarp();
  y[threadIdx.x] = tile[threadIdx.x ^ 31u];  // fault: missing_syncwarp
}

template <bool bug>
void missing_syncwarp() {
  const Array y(block);
  std::vector<float> expected(block);
  for (unsigned i = 0; i < block; ++i) expected[i] = static_cast<float>(i ^ 31u);
  for (int i = 0; i < repetitions; ++i) {
    launch<missing_syncwarp_kernel<bug>>({.blocks = 1, .threads = block, .shared_bytes = shared_bytes},
                                         y.data());
    expect(expected, y.values());
  }
}

/// A shuffle makes the lanes wait for one another, but orders no memory. Only TSan can tell.
template <bool bug>
__global__ void shuffle_as_syncwarp_kernel(float* y) {
  SharedMemory shared;
  float* const tile = shared.array<float>(block);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  const float neighbour = __shfl_xor_sync(all_lanes, static_cast<float>(threadIdx.x), 1);
  if constexpr (!bug) __syncwarp();
  y[threadIdx.x] = tile[threadIdx.x ^ 1u] - neighbour;  // fault: shuffle_as_syncwarp
}

template <bool bug>
void shuffle_as_syncwarp() {
  const Array y(block);
  launch<shuffle_as_syncwarp_kernel<bug>>({.blocks = 1, .threads = block, .shared_bytes = shared_bytes},
                                          y.data());
  expect(std::vector<float>(block), y.values());
}

/// A sum over blocks without a second pass.
template <bool bug>
__global__ void race_between_blocks_kernel(float* y) {
  if (threadIdx.x != 0) return;
  float* const target = bug ? y : y + blockIdx.x;
  *target = static_cast<float>(blockIdx.x);  // fault: race_between_blocks
}

template <bool bug>
void race_between_blocks() {
  const Array y(std::vector<float>(8, 0.0f));
  std::vector<float> expected = counting(8);
  if (bug) expected = {7, 0, 0, 0, 0, 0, 0, 0};  // whoever comes last
  for (int i = 0; i < repetitions; ++i) {
    launch<race_between_blocks_kernel<bug>>({.blocks = 8, .threads = 32}, y.data());
    expect(expected, y.values());
  }
}

/// Blocks that use barriers of their own are not ordered by them.
template <bool bug>
__global__ void race_across_barriers_kernel(float* y) {
  __syncthreads();
  const unsigned element = bug ? (blockIdx.x + 1) % gridDim.x : blockIdx.x;
  if (threadIdx.x == 0) y[blockIdx.x] = static_cast<float>(blockIdx.x);
  __syncthreads();
  if (threadIdx.x == 1) y[gridDim.x + blockIdx.x] = y[element];  // fault: race_across_barriers
  __syncthreads();
}

template <bool bug>
void race_across_barriers() {
  constexpr int blocks = 40;
  for (int i = 0; i < repetitions; ++i) {
    const Array y(std::vector<float>(2 * blocks, -1.0f));
    launch<race_across_barriers_kernel<bug>>({.blocks = blocks, .threads = block}, y.data());
    std::vector<float> expected = counting(2 * blocks);
    for (int b = 0; b < blocks; ++b) expected[blocks + b] = static_cast<float>(bug ? (b + 1) % blocks : b);
    expect(expected, y.values());
  }
}

// Accesses where nothing is.

/// Differences of neighbours, of which there is one less.
template <bool bug>
__global__ void read_out_of_bounds_kernel(int count, const float* x, float* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (bug ? i < count : i + 1 < count) y[i] = x[i + 1] - x[i];  // fault: read_out_of_bounds
}

template <bool bug>
void read_out_of_bounds() {
  const int count = 100;
  const Array x(counting(count)), y(std::vector<float>(count, 1.0f));
  launch<read_out_of_bounds_kernel<bug>>({.blocks = 2, .threads = block}, count, x.data(), y.data());
  expect(std::vector<float>(count, 1.0f), y.values());
}

template <bool bug>
__global__ void write_out_of_bounds_kernel(int count, float* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (bug ? i <= count : i < count) y[i] = static_cast<float>(i);  // fault: write_out_of_bounds
}

template <bool bug>
void write_out_of_bounds() {
  const int count = 100;
  const Array y(count);
  launch<write_out_of_bounds_kernel<bug>>({.blocks = 2, .threads = block}, count, y.data());
  expect(counting(count), y.values());
}

/// Copies what lies behind one array behind another.
template <bool bug>
__global__ void copy_out_of_bounds_kernel(int count, const float* x, float* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (bug ? i <= count : i < count) y[i] = x[i];  // fault: copy_out_of_bounds
}

template <bool bug>
void copy_out_of_bounds() {
  const int count = 100;
  const Array x(counting(count)), y(count);
  launch<copy_out_of_bounds_kernel<bug>>({.blocks = 2, .threads = block}, count, x.data(), y.data());
  expect(counting(count), y.values());
}

template <bool bug>
__global__ void write_into_neighbour_kernel(float* y) {
  SharedMemory shared;
  float* const first = shared.array<float>(block);
  float* const second = shared.array<float>(block);
  second[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  first[threadIdx.x + (bug ? 1 : 0)] = canary;  // fault: write_into_neighbour
  __syncthreads();
  y[threadIdx.x] = second[threadIdx.x];
}

template <bool bug>
void write_into_neighbour() {
  const Array y(block);
  launch<write_into_neighbour_kernel<bug>>({.blocks = 1, .threads = block, .shared_bytes = shared_bytes},
                                           y.data());
  expect(counting(block), y.values());
}

template <bool bug>
__global__ void read_from_neighbour_kernel(float* y) {
  SharedMemory shared;
  float* const first = shared.array<float>(block);
  float* const second = shared.array<float>(block);
  first[threadIdx.x] = second[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  y[threadIdx.x] = first[bug ? threadIdx.x + 1 : threadIdx.x];  // fault: read_from_neighbour
}

template <bool bug>
void read_from_neighbour() {
  const Array y(block);
  launch<read_from_neighbour_kernel<bug>>({.blocks = 1, .threads = block, .shared_bytes = shared_bytes},
                                          y.data());
  std::vector<float> expected = counting(block);
  if (bug)
    for (float& value : expected) ++value;
  expect(expected, y.values());
}

template <bool bug>
__global__ void too_much_shared_memory_kernel(float* y) {
  SharedMemory shared;
  float* const tile = shared.array<float>(block + (bug ? 1 : 0));
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  y[threadIdx.x] = tile[threadIdx.x];
}

template <bool bug>
void too_much_shared_memory() {
  const Array y(block);
  launch<too_much_shared_memory_kernel<bug>>(
      {.blocks = 1, .threads = block, .shared_bytes = SharedLayout().array<float>(block).bytes()}, y.data());
  expect(counting(block), y.values());
}

/// A pointer that the launch cannot see.
struct Hidden {
  const float* x;
};

__global__ void use_after_free_kernel(Hidden hidden, float* y) {
  y[threadIdx.x] = hidden.x[threadIdx.x];  // fault: use_after_free
}

template <bool bug>
void use_after_free() {
  const Array y(block);
  float* x = nullptr;
  check(cudaMallocAsync(&x, block * sizeof(float), nullptr), "cudaMallocAsync");
  const std::vector<float> values = counting(block);
  check(cudaMemcpyAsync(x, values.data(), block * sizeof(float), cudaMemcpyHostToDevice, nullptr),
        "cudaMemcpyAsync");
  if (bug) check(cudaFreeAsync(x, nullptr), "cudaFreeAsync");
  launch<use_after_free_kernel>({.blocks = 1, .threads = block}, Hidden{x}, y.data());
  if (!bug) check(cudaFreeAsync(x, nullptr), "cudaFreeAsync");
  expect(values, y.values());
}

__global__ void freed_argument_kernel(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }

template <bool bug>
void freed_argument() {
  const Array y(block);
  float* x = nullptr;
  check(cudaMalloc(&x, block * sizeof(float)), "cudaMalloc");
  check(cudaMemset(x, 0, block * sizeof(float)), "cudaMemset");
  if (bug) check(cudaFree(x), "cudaFree");
  launch<freed_argument_kernel>({.blocks = 1, .threads = block}, x, y.data());
  if (!bug) check(cudaFree(x), "cudaFree");
  expect(std::vector<float>(block), y.values());
}

/// Freed memory is looked at again before it is used again.
__global__ void write_after_free_kernel(Hidden hidden) {
  const_cast<float*>(hidden.x)[threadIdx.x] = canary;  // fault: write_after_free
}

template <bool bug>
void write_after_free() {
  float* x = nullptr;
  check(cudaMalloc(&x, block * sizeof(float)), "cudaMalloc");
  if (bug) check(cudaFree(x), "cudaFree");
  launch<write_after_free_kernel>({.blocks = 1, .threads = block}, Hidden{x});
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  if (!bug) check(cudaFree(x), "cudaFree");
  for (int i = 0; i < 2000; ++i) {
    check(cudaMalloc(&x, block * sizeof(float)), "cudaMalloc");
    check(cudaFree(x), "cudaFree");
  }
}

// Values that nobody wrote.

template <bool bug>
__global__ void uninitialised_shared_kernel(float* y) {
  SharedMemory shared;
  float* const tile = shared.array<float>(block);
  if (!bug || threadIdx.x != 0) tile[threadIdx.x] = 1;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < block; ++i) sum += tile[i];
  y[threadIdx.x] = sum;
}

template <bool bug>
void uninitialised_shared() {
  const Array y(block);
  for (int i = 0; i < repetitions; ++i) {
    launch<uninitialised_shared_kernel<false>>({.blocks = 1, .threads = block, .shared_bytes = shared_bytes},
                                               y.data());
    launch<uninitialised_shared_kernel<bug>>({.blocks = 1, .threads = block, .shared_bytes = shared_bytes},
                                             y.data());
    expect(std::vector<float>(block, bug ? block - 1 : block), y.values());
  }
}

__global__ void accumulate_kernel(float* y) { y[threadIdx.x] += 1; }

template <bool bug>
void uninitialised_global() {
  // The allocator gives out memory again that was zero before.
  for (int i = 0; i < repetitions; ++i) {
    const Array y(block);
    if (!bug) check(cudaMemset(y.data(), 0, block * sizeof(float)), "cudaMemset");
    launch<accumulate_kernel>({.blocks = 1, .threads = block}, y.data());
    expect(std::vector<float>(block, 1.0f), y.values());
  }
}

// Divergence.

template <bool bug>
__global__ void divergent_barrier_kernel(float* y) {
  const bool upper = threadIdx.x >= block / 2;
  if (bug && upper)
    __syncthreads();  // fault: divergent_barrier
  else
    __syncthreads();
  y[threadIdx.x] = static_cast<float>(threadIdx.x);
}

template <bool bug>
void divergent_barrier() {
  const Array y(block);
  launch<divergent_barrier_kernel<bug>>({.blocks = 1, .threads = block}, y.data());
  expect(counting(block), y.values());
}

template <bool bug>
__global__ void exited_thread_kernel(float* y) {
  if (bug && threadIdx.x >= 40) return;
  y[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();  // fault: exited_thread
}

template <bool bug>
void exited_thread() {
  const Array y(block);
  launch<exited_thread_kernel<bug>>({.blocks = 1, .threads = block}, y.data());
  expect(counting(block), y.values());
}

/// The block of 40 threads has a warp of 8 lanes.
template <bool bug>
__global__ void lanes_outside_the_block_kernel(float* y) {
  const unsigned mask = bug || threadIdx.x < 32 ? all_lanes : 0xffu;
  y[threadIdx.x] = __shfl_sync(mask, 1.0f, 0);  // fault: lanes_outside_the_block
}

template <bool bug>
void lanes_outside_the_block() {
  const Array y(40);
  launch<lanes_outside_the_block_kernel<bug>>({.blocks = 1, .threads = 40}, y.data());
  expect(std::vector<float>(40, 1.0f), y.values());
}

template <bool bug>
__global__ void mask_without_caller_kernel(float* y) {
  const unsigned mask = bug ? 0xfffffffeu : all_lanes;
  y[threadIdx.x] = __shfl_down_sync(mask, 1.0f, 1);  // fault: mask_without_caller
}

template <bool bug>
void mask_without_caller() {
  const Array y(block);
  launch<mask_without_caller_kernel<bug>>({.blocks = 1, .threads = block}, y.data());
  expect(std::vector<float>(block, 1.0f), y.values());
}

template <bool bug>
__global__ void mask_with_exited_lane_kernel(float* y) {
  if (threadIdx.x == 63) return;
  const unsigned mask = bug || threadIdx.x < 32 ? all_lanes : 0x7fffffffu;
  __syncwarp(mask);  // fault: mask_with_exited_lane
  y[threadIdx.x] = 1;
}

template <bool bug>
void mask_with_exited_lane() {
  const Array y(block);
  launch<mask_with_exited_lane_kernel<bug>>({.blocks = 1, .threads = block}, y.data());
  expect(std::vector<float>(block - 1, 1.0f), y.values());
}

template <bool bug>
__global__ void different_warp_operations_kernel(float* y) {
  float value = 1;
  if (bug && threadIdx.x % 2 == 0)
    value = __shfl_sync(all_lanes, value, 0);  // fault: different_warp_operations
  else
    value = __shfl_sync(all_lanes, value, 1);
  y[threadIdx.x] = value;
}

template <bool bug>
void different_warp_operations() {
  const Array y(block);
  launch<different_warp_operations_kernel<bug>>({.blocks = 1, .threads = block}, y.data());
  expect(std::vector<float>(block, 1.0f), y.values());
}

// Host and device.

__global__ void fill_kernel(float value, float* y) { y[threadIdx.x] = value; }

template <bool bug>
void missing_synchronisation() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  const Array y(block);
  std::vector<float> result(block, 0.0f);
  launch<fill_kernel>({.blocks = 1, .threads = block, .own_stream = stream}, canary, y.data());
  check(cudaMemcpyAsync(result.data(), y.data(), block * sizeof(float), cudaMemcpyDeviceToHost, stream),
        "cudaMemcpyAsync");
  if (!bug) check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  expect(std::vector<float>(block, canary), result);
  check(cudaStreamDestroy(stream), "cudaStreamDestroy");
}

/// One stream reads what another has yet to write.
template <bool bug>
void missing_event() {
  cudaStream_t writer = nullptr, reader = nullptr;
  cudaEvent_t written = nullptr;
  check(cudaStreamCreateWithFlags(&writer, cudaStreamNonBlocking), "cudaStreamCreate");
  check(cudaStreamCreateWithFlags(&reader, cudaStreamNonBlocking), "cudaStreamCreate");
  check(cudaEventCreateWithFlags(&written, cudaEventDisableTiming), "cudaEventCreate");
  const Array y(block);
  std::vector<float> result(block);
  launch<fill_kernel>({.blocks = 1, .threads = block, .own_stream = writer}, canary, y.data());
  check(cudaEventRecord(written, writer), "cudaEventRecord");
  if (!bug) check(cudaStreamWaitEvent(reader, written), "cudaStreamWaitEvent");
  check(cudaMemcpyAsync(result.data(), y.data(), block * sizeof(float), cudaMemcpyDeviceToHost, reader),
        "cudaMemcpyAsync");
  check(cudaStreamSynchronize(reader), "cudaStreamSynchronize");
  expect(std::vector<float>(block, canary), result);
  check(cudaEventDestroy(written), "cudaEventDestroy");
  check(cudaStreamDestroy(writer), "cudaStreamDestroy");
  check(cudaStreamDestroy(reader), "cudaStreamDestroy");
}

/// Pinned memory is read when the copy runs, not when it is queued.
template <bool bug>
void pinned_memory_overwritten() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  const Array y(1);
  float* pinned = nullptr;
  check(cudaMallocHost(&pinned, sizeof(float)), "cudaMallocHost");
  *pinned = canary;
  check(cudaMemcpyAsync(y.data(), pinned, sizeof(float), cudaMemcpyHostToDevice, stream), "cudaMemcpyAsync");
  if (!bug) check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  *pinned = 0;  // fault: pinned_memory_overwritten
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  expect({canary}, y.values());
  check(cudaFreeHost(pinned), "cudaFreeHost");
  check(cudaStreamDestroy(stream), "cudaStreamDestroy");
}

template <bool bug>
void host_dereference() {
  const Array y(counting(block));
  expect({1}, {bug ? y.data()[1] : y.values()[1]});  // fault: host_dereference
}

template <bool bug>
void host_pointer_in_kernel() {
  std::vector<float> host(block);
  const Array y(block);
  launch<fill_kernel>({.blocks = 1, .threads = block}, canary, bug ? host.data() : y.data());
  expect(std::vector<float>(block, canary), y.values());
}

template <bool bug>
void copy_too_long() {
  const Array y(block);
  const std::vector<float> host(block + 1);
  check(cudaMemcpy(y.data(), host.data(), (block + (bug ? 1 : 0)) * sizeof(float), cudaMemcpyHostToDevice),
        "cudaMemcpy");
}

/// Memory of a graph exists only between its allocation and its release.
template <bool bug>
void graph_memory_after_release() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  const Array y(block);
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  float* x = nullptr;
  check(cudaMallocAsync(&x, block * sizeof(float), stream), "cudaMallocAsync");
  launch<fill_kernel>({.blocks = 1, .threads = block, .own_stream = stream}, canary, x);
  if (bug) check(cudaFreeAsync(x, stream), "cudaFreeAsync");
  launch<use_after_free_kernel>({.blocks = 1, .threads = block, .own_stream = stream}, Hidden{x}, y.data());
  if (!bug) check(cudaFreeAsync(x, stream), "cudaFreeAsync");
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  for (int i = 0; i < 2; ++i) {
    check(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    expect(std::vector<float>(block, canary), y.values());
  }
  check(cudaGraphExecDestroy(executable), "cudaGraphExecDestroy");
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  check(cudaStreamDestroy(stream), "cudaStreamDestroy");
}

struct Program {
  void (*bug)();
  void (*mended)();
};

#define PROGRAM(name)                  \
  {                                    \
#name, { name<true>, name<false> } \
  }
const std::map<std::string, Program> programs = {
    PROGRAM(missing_barrier),
    PROGRAM(missing_second_barrier),
    PROGRAM(missing_syncwarp),
    PROGRAM(shuffle_as_syncwarp),
    PROGRAM(race_between_blocks),
    PROGRAM(race_across_barriers),
    PROGRAM(read_out_of_bounds),
    PROGRAM(write_out_of_bounds),
    PROGRAM(copy_out_of_bounds),
    PROGRAM(write_into_neighbour),
    PROGRAM(read_from_neighbour),
    PROGRAM(too_much_shared_memory),
    PROGRAM(use_after_free),
    PROGRAM(freed_argument),
    PROGRAM(write_after_free),
    PROGRAM(uninitialised_shared),
    PROGRAM(uninitialised_global),
    PROGRAM(divergent_barrier),
    PROGRAM(exited_thread),
    PROGRAM(lanes_outside_the_block),
    PROGRAM(mask_without_caller),
    PROGRAM(mask_with_exited_lane),
    PROGRAM(different_warp_operations),
    PROGRAM(missing_synchronisation),
    PROGRAM(missing_event),
    PROGRAM(pinned_memory_overwritten),
    PROGRAM(host_dereference),
    PROGRAM(host_pointer_in_kernel),
    PROGRAM(copy_too_long),
    PROGRAM(graph_memory_after_release),
};
#undef PROGRAM

}  // namespace

}  // namespace kg::cuda

int main(int argc, char** argv) {
  const auto& programs = kg::cuda::programs;
  const auto program = argc > 1 ? programs.find(argv[1]) : programs.end();
  if (program == programs.end()) {
    std::fprintf(stderr, "usage: planted_bugs NAME [mended]\n");
    return 2;
  }
  const bool mended = argc > 2 && std::strcmp(argv[2], "mended") == 0;
  (mended ? program->second.mended : program->second.bug)();
  return 0;
}
