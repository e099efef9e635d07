// SPDX-License-Identifier: MIT
#include <cuda_runtime.h>

#include <Random123/philox.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "catch.h"
#include "device_array.h"
#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/shared_memory.h"

cudaStream_t kg::cuda::stream() { return nullptr; }
void kg::cuda::detail::note_launch(const char*) noexcept {}
kg::cuda::Turn::Turn() {}
kg::cuda::Turn::~Turn() {}

// What kernels see: their place in the grid, barriers, warps, shared and device memory, launches.

namespace {

using kg::cuda::SharedLayout;
using kg::cuda::SharedMemory;

constexpr unsigned all_lanes = 0xffffffffu;

static_assert(sizeof(float4) == 16 && alignof(float4) == 16 && alignof(float2) == 8 && sizeof(float3) == 12);
static_assert(alignof(double2) == 16 && alignof(double4) == 16 && alignof(uchar4) == 4 &&
              alignof(int4) == 16);

template <class Function>
std::vector<int> expected_for(int count, Function function) {
  std::vector<int> values(count);
  for (int i = 0; i < count; ++i) values[i] = function(i);
  return values;
}

__global__ void place_kernel(int* place) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  const unsigned index = block * blockDim.x * blockDim.y * blockDim.z + thread;
  place[index] = static_cast<int>(index);
}

TEST_CASE("every thread of every block runs once, at its place") {
  const dim3 blocks(3, 2, 2), threads(5, 3, 4);
  const int count = 12 * 60;
  DeviceArray<int> place(count);
  launch(place_kernel, {blocks, threads}, place.data());
  CHECK(place.values() == expected_for(count, [](int i) { return i; }));
}

__global__ void block_order_kernel(int* next, int* order) {
  if (threadIdx.x == 0) order[atomicAdd(next, 1)] = static_cast<int>(blockIdx.x);
}

__global__ void thread_order_kernel(int* next, int* order) {
  order[atomicAdd(next, 1)] = static_cast<int>(threadIdx.x);
}

__global__ void order_after_barrier_kernel(int* next, int* order) {
  __syncthreads();
  order[atomicAdd(next, 1)] = static_cast<int>(threadIdx.x);
}

/// "forward", "reverse" or "random"
template <class Kernel>
std::string order_of(Kernel kernel, unsigned blocks, unsigned threads) {
  const int count = 64;
  DeviceArray<int> next(std::vector<int>(1, 0)), order(count);
  launch(kernel, {blocks, threads}, next.data(), order.data());
  const std::vector<int> values = order.values();
  std::vector<int> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  REQUIRE(sorted == expected_for(count, [](int i) { return i; }));
  if (values == sorted) return "forward";
  std::reverse(sorted.begin(), sorted.end());
  return values == sorted ? "reverse" : "random";
}

TEST_CASE("blocks and threads run in the order that the environment asks for, else in all of them",
          "[order]") {
  const char* const wanted = std::getenv("KG_EMULATOR_ORDER");
  std::vector<std::string> seen_blocks, seen_threads, seen_after;
  for (int i = 0; i < 40; ++i) {
    seen_blocks.push_back(order_of(block_order_kernel, 64, 1));
    seen_threads.push_back(order_of(thread_order_kernel, 1, 64));
    seen_after.push_back(order_of(order_after_barrier_kernel, 1, 64));
  }
  for (const auto& seen : {seen_blocks, seen_threads, seen_after})
    for (const std::string order : {"forward", "reverse", "random"}) {
      const auto times = std::count(seen.begin(), seen.end(), order);
      INFO(order);
      if (!wanted || std::string(wanted) == "mixed")
        CHECK(times > 0);
      else
        CHECK(times == (order == wanted ? 40 : 0));
    }
}

/// A sum over all smaller threads in log2 steps, with two barriers in each.
__global__ void scan_kernel(int* sums) {
  SharedMemory shared;
  int* const values = shared.array<int>(blockDim.x);
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  for (unsigned distance = 1; distance < blockDim.x; distance *= 2) {
    const int addend = threadIdx.x >= distance ? values[threadIdx.x - distance] : 0;
    __syncthreads();
    values[threadIdx.x] += addend;
    __syncthreads();
  }
  sums[blockIdx.x * blockDim.x + threadIdx.x] = values[threadIdx.x];
}

TEST_CASE("barriers let no thread pass before all have arrived") {
  for (const unsigned threads : {1u, 31u, 33u, 256u, 1024u}) {
    DeviceArray<int> sums(3 * threads);
    launch(scan_kernel, {3, threads, SharedLayout().array<int>(threads).bytes()}, sums.data());
    const int count = static_cast<int>(threads);
    CHECK(sums.values() == expected_for(3 * count, [=](int i) { return i % count * (i % count + 1) / 2; }));
  }
}

__global__ void vote_barrier_kernel(int* results) {
  const int odd = threadIdx.x % 2;
  if (threadIdx.x == 0) results[0] = 0;
  const int count = __syncthreads_count(odd), any = __syncthreads_or(odd), all = __syncthreads_and(odd);
  const int none = __syncthreads_or(0), every = __syncthreads_and(1);
  if (threadIdx.x == 5) {
    results[0] = count;
    results[1] = any;
    results[2] = all;
    results[3] = none;
    results[4] = every;
  }
}

TEST_CASE("barriers count, and, or") {
  DeviceArray<int> results(5);
  launch(vote_barrier_kernel, {1, 45}, results.data());
  CHECK(results.values() == std::vector<int>{22, 1, 0, 0, 1});
}

enum class Shuffle { index, exclusive_or, up, down };

template <class T>
__global__ void shuffle_kernel(Shuffle kind, int argument, int width, T* results) {
  const T value = static_cast<T>(100 + threadIdx.x % 32);
  T result{};
  if (kind == Shuffle::index) result = __shfl_sync(all_lanes, value, argument, width);
  if (kind == Shuffle::exclusive_or) result = __shfl_xor_sync(all_lanes, value, argument, width);
  if (kind == Shuffle::up) result = __shfl_up_sync(all_lanes, value, static_cast<unsigned>(argument), width);
  if (kind == Shuffle::down)
    result = __shfl_down_sync(all_lanes, value, static_cast<unsigned>(argument), width);
  results[threadIdx.x] = result;
}

/// The lane that CUDA's programming guide has a lane read from.
int source_lane(Shuffle kind, int lane, int argument, int width) {
  const int segment = lane / width * width;
  switch (kind) {
    case Shuffle::index:
      return segment + argument % width;
    case Shuffle::exclusive_or:
      return (lane ^ argument) < segment + width ? lane ^ argument : lane;
    case Shuffle::up:
      return lane - argument >= segment ? lane - argument : lane;
    case Shuffle::down:
      return lane + argument < segment + width ? lane + argument : lane;
  }
  return -1;
}

TEMPLATE_TEST_CASE("shuffles move values between lanes", "", int, unsigned, float, double, std::int64_t) {
  for (const Shuffle kind : {Shuffle::index, Shuffle::exclusive_or, Shuffle::up, Shuffle::down})
    for (const int width : {32, 16, 4})
      for (const int argument : {0, 1, 3, 8, 31}) {
        DeviceArray<TestType> results(64);
        launch(shuffle_kernel<TestType>, {1, 64}, kind, argument, width, results.data());
        const std::vector<TestType> values = results.values();
        for (int i = 0; i < 64; ++i) {
          INFO("kind " << static_cast<int>(kind) << ", width " << width << ", argument " << argument
                       << ", lane " << i);
          CHECK(values[i] == static_cast<TestType>(100 + source_lane(kind, i % 32, argument, width)));
        }
      }
}

/// The two halves of each warp go their own ways, with different numbers of operations.
__global__ void half_warps_kernel(unsigned* votes, int* sums) {
  const bool upper = threadIdx.x % 32 >= 16;
  const unsigned mask = upper ? 0xffff0000u : 0x0000ffffu;
  votes[threadIdx.x] = __ballot_sync(mask, threadIdx.x % 3 == 0);
  int sum = static_cast<int>(threadIdx.x);
  if (upper) {
    __syncwarp(mask);
    for (int distance = 8; distance > 0; distance /= 2) sum += __shfl_xor_sync(mask, sum, distance);
    __syncwarp(mask);
  }
  sums[threadIdx.x] = sum + 1000 * __any_sync(mask, threadIdx.x == 40) + 2000 * __all_sync(mask, !upper);
}

TEST_CASE("parts of warps work on their own, and vote") {
  DeviceArray<unsigned> votes(64);
  DeviceArray<int> sums(64);
  launch(half_warps_kernel, {1, 64}, votes.data(), sums.data());
  for (unsigned i = 0; i < 64; ++i) {
    const unsigned half = i / 16 * 16;
    unsigned vote = 0;
    int sum = 0;
    for (unsigned j = half; j < half + 16; ++j) {
      vote |= (j % 3 == 0 ? 1u : 0u) << j % 32;
      sum += static_cast<int>(j);
    }
    const bool upper = half % 32 != 0;
    CHECK(votes.values()[i] == vote);
    CHECK(sums.values()[i] ==
          (upper ? sum : static_cast<int>(i)) + (half == 32 ? 1000 : 0) + (upper ? 0 : 2000));
  }
}

__global__ void uninitialised_kernel(const float* floats, const double* doubles, float* y) {
  SharedMemory shared;
  const float* const tile = shared.array<float>(4);
  y[0] = floats[0];
  y[1] = static_cast<float>(doubles[0]);
  y[2] = tile[3];
  y[3] = reinterpret_cast<const int*>(tile)[0] == -1 ? 1 : 0;
}

TEST_CASE("memory that nobody wrote holds no numbers") {
  DeviceArray<float> floats(1), y(4);
  DeviceArray<double> doubles(1);
  launch(uninitialised_kernel, {1, 1, SharedLayout().array<float>(4).bytes()}, floats.data(), doubles.data(),
         y.data());
  const std::vector<float> values = y.values();
  CHECK(std::isnan(values[0]));
  CHECK(std::isnan(values[1]));
  CHECK(std::isnan(values[2]));
  CHECK(values[3] == 1);
}

/// Whether each block finds its shared memory as new; odd blocks use a second array.
__global__ void shared_arrays_kernel(int* fresh) {
  SharedMemory shared;
  double* const first = shared.array<double>(5);
  int* const second = shared.array<int>(blockIdx.x % 2 ? 3 : 0);
  bool good =
      reinterpret_cast<std::uintptr_t>(first) % 16 == 0 && reinterpret_cast<std::uintptr_t>(second) % 16 == 0;
  for (int i = 0; i < 5; ++i) good = good && first[i] != first[i];
  for (int i = 0; i < 5; ++i) first[i] = i;
  if (blockIdx.x % 2)
    for (int i = 0; i < 3; ++i) good = good && second[i] == -1;
  if (blockIdx.x % 2)
    for (int i = 0; i < 3; ++i) second[i] = i;
  fresh[blockIdx.x] = good;
}

TEST_CASE("each block has fresh, aligned shared memory") {
  DeviceArray<int> fresh(64);
  launch(shared_arrays_kernel, {64, 1, SharedLayout().array<double>(5).array<int>(3).bytes()}, fresh.data());
  CHECK(fresh.values() == std::vector<int>(64, 1));
}

__global__ void atomics_kernel(int* results, unsigned* bits, unsigned long long* sum) {
  atomicAdd(&results[0], 2);
  atomicMax(&results[1], static_cast<int>(threadIdx.x));
  atomicMin(&results[2], static_cast<int>(threadIdx.x) - 7);
  atomicCAS(&results[3], 0, 5);
  atomicAdd(&bits[0], 1u);
  atomicAdd(sum, 1ull << 33);
}

TEST_CASE("atomics") {
  DeviceArray<int> results(std::vector<int>(4, 0));
  DeviceArray<unsigned> bits(std::vector<unsigned>(1, 0u));
  DeviceArray<unsigned long long> sum(std::vector<unsigned long long>(1, 0ull));
  launch(atomics_kernel, {3, 64}, results.data(), bits.data(), sum.data());
  CHECK(results.values() == std::vector<int>{2 * 192, 63, -7, 5});
  CHECK(bits.values()[0] == 192);
  CHECK(sum.values()[0] == 192ull << 33);
}

TEST_CASE("functions of device code") {
  CHECK(min(2, -3) == -3);
  CHECK(max(2u, 3u) == 3u);
  CHECK(min(NAN, 2.0f) == 2.0f);
  CHECK(max(1.0, static_cast<double>(NAN)) == 1.0);
  CHECK(rsqrtf(16.0f) == 0.25f);
  CHECK(rsqrt(4.0) == 0.5);
  CHECK(__popc(0xf0f0u) == 8);
  CHECK(__clz(1) == 31);
  CHECK(__clz(0) == 32);
  CHECK(__ffs(0) == 0);
  CHECK(__ffs(8) == 4);
  CHECK(__umulhi(0x80000000u, 6u) == 3u);
  CHECK(__float_as_int(1.0f) == 0x3f800000);
}

__global__ void conversions_kernel(std::int64_t count, const float* x, double scale, double* y) {
  y[0] = static_cast<double>(count) * scale + static_cast<double>(*x);
}

TEST_CASE("arguments are converted to the types of the parameters") {
  DeviceArray<float> x(std::vector<float>{0.5f});
  DeviceArray<double> y(1);
  launch(conversions_kernel, {1, 1}, 3, x.data(), 2.0f, y.data());
  CHECK(y.values()[0] == 6.5);
}

__global__ void empty_kernel() {}

TEST_CASE("launches that no GPU would take are refused") {
  const auto result = [](dim3 blocks, dim3 threads, std::size_t shared_bytes = 0) {
    const cudaLaunchConfig_t config{.gridDim = blocks, .blockDim = threads, .dynamicSmemBytes = shared_bytes};
    return cudaLaunchKernelEx(&config, empty_kernel);
  };
  CHECK(result(1, 1024) == cudaSuccess);
  CHECK(result(0, 1) == cudaErrorInvalidConfiguration);
  CHECK(result(1, 0) == cudaErrorInvalidConfiguration);
  CHECK(result(1, 1025) == cudaErrorInvalidConfiguration);
  CHECK(result(1, dim3(64, 64)) == cudaErrorInvalidConfiguration);
  CHECK(result(1, dim3(1, 1, 65)) == cudaErrorInvalidConfiguration);
  CHECK(result(dim3(1, 65536), 1) == cudaErrorInvalidConfiguration);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaSuccess);

  CHECK(result(1, 1, 48 * 1024) == cudaSuccess);
  CHECK(result(1, 1, 48 * 1024 + 1) == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(empty_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 * 1024) ==
        cudaSuccess);
  CHECK(result(1, 1, 64 * 1024) == cudaSuccess);
  CHECK(cudaFuncSetAttribute(empty_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 1 << 20) ==
        cudaErrorInvalidValue);
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
  CHECK(std::string(cudaGetErrorName(cudaErrorInvalidValue)) == "cudaErrorInvalidValue");
}

__global__ void limited_kernel() {}

TEST_CASE("a launch never lowers what another may have of shared memory") {
  using kg::cuda::launch;
  launch<limited_kernel>({.blocks = 1, .threads = 1, .shared_bytes = 64 * 1024});
  launch<limited_kernel>({.blocks = 1, .threads = 1, .shared_bytes = 49 * 1024});
  const cudaLaunchConfig_t config{.gridDim = 1, .blockDim = 1, .dynamicSmemBytes = 64 * 1024};
  CHECK(cudaLaunchKernelEx(&config, limited_kernel) == cudaSuccess);
  CHECK_THROWS_AS(launch<limited_kernel>({.blocks = 1, .threads = 1, .shared_bytes = 1 << 20}), kg::Error);
  cudaGetLastError();
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}

TEST_CASE("memory runs out as on a GPU, and is used again") {
  void* memory = nullptr;
  CHECK(cudaMalloc(&memory, std::size_t{1} << 40) == cudaErrorMemoryAllocation);
  CHECK(memory == nullptr);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  // More in all than the device has.
  for (int i = 0; i < 70; ++i) {
    REQUIRE(cudaMallocAsync(&memory, std::size_t{64} << 20, nullptr) == cudaSuccess);
    REQUIRE(cudaFreeAsync(memory, nullptr) == cudaSuccess);
  }
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}

TEST_CASE("copies go where they say") {
  float host[2] = {1, 2};
  DeviceArray<float> x(2), y(2);
  CHECK(cudaMemcpy(x.data(), host, sizeof host, cudaMemcpyHostToDevice) == cudaSuccess);
  CHECK(cudaMemcpy(y.data(), x.data(), sizeof host, cudaMemcpyDeviceToDevice) == cudaSuccess);
  CHECK(y.values() == std::vector<float>{1, 2});
  CHECK(cudaMemset(y.data(), 0, sizeof(float)) == cudaSuccess);
  CHECK(y.values() == std::vector<float>{0, 2});
  CHECK(cudaMemcpy(host, y.data(), sizeof host, cudaMemcpyDefault) == cudaSuccess);
  CHECK(host[0] == 0);
  CHECK(cudaMemcpy(host, x.data(), sizeof host, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(x.data(), y.data(), sizeof host, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
}

__global__ void philox_kernel(std::uint32_t* bits) {
  const auto draw = r123::Philox4x32{}({threadIdx.x, 0, 0, 0}, {7, 9});
  for (unsigned i = 0; i < 4; ++i) bits[4 * threadIdx.x + i] = draw[i];
}

TEST_CASE("Random123 draws the same in kernels as elsewhere") {
  DeviceArray<std::uint32_t> bits(4 * 32);
  launch(philox_kernel, {1, 32}, bits.data());
  const auto draw = r123::Philox4x32{}({31, 0, 0, 0}, {7, 9});
  CHECK(bits.values()[4 * 31 + 2] == draw[2]);
}

TEST_CASE("several threads of the host may use the device at once") {
  std::vector<std::thread> hosts;
  std::vector<std::vector<int>> sums(4);
  for (auto& sum : sums)
    hosts.emplace_back([&sum] {
      for (int i = 0; i < 20; ++i) {
        DeviceArray<int> values(64);
        launch(scan_kernel, {1, 64, SharedLayout().array<int>(64).bytes()}, values.data());
        sum = values.values();
      }
    });
  for (std::thread& host : hosts) host.join();
  for (const auto& sum : sums) CHECK(sum == expected_for(64, [](int i) { return i * (i + 1) / 2; }));
}

}  // namespace
