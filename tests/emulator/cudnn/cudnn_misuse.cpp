// SPDX-License-Identifier: MIT
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>

#include "standin.h"

/// The stand-ins checked, like the emulator by planted_bugs.cpp: `cudnn_misuse NAME` calls a library as it
/// must not be called, where the real one could only crash or return nonsense; `cudnn_misuse NAME mended` is
/// the correct twin. CMakeLists.txt has what each must print.

namespace {

const Dims dims{2, 3, 4, 5};

/// What cudnnAddTensor is given; each program spoils one of its arguments.
struct Sum {
  Handle handle;
  Tensor desc{dims};
  device::Array<float> a{values<float>(dims.size(), 1)}, c{values<float>(dims.size(), 2)};
  float one = 1, zero = 0;

  void run(const void* alpha, const void* from, const void* beta, void* to) const {
    check(cudnn().cudnnAddTensor(handle.handle, alpha, desc.descriptor, from, beta, desc.descriptor, to));
  }
  void run(const void* from, void* to) const { run(&one, from, &zero, to); }
  void wait() const { device::wait_for(handle.stream); }
};

void host_input(bool bug) {
  const Sum sum;
  const std::vector<float> host(dims.size());
  sum.run(bug ? host.data() : sum.a.data(), sum.c.data());
}

void host_output(bool bug) {
  const Sum sum;
  std::vector<float> host(dims.size());
  sum.run(sum.a.data(), bug ? host.data() : sum.c.data());
}

void short_input(bool bug) {
  const Sum sum;
  const device::Array<float> input(values<float>(dims.size() - (bug ? 1 : 0), 1));
  sum.run(input.data(), sum.c.data());
}

void short_output(bool bug) {
  const Sum sum;
  const device::Array<float> output(dims.size() + 1);
  sum.run(sum.a.data(), output.data() + (bug ? 2 : 1));
}

void freed_input(bool bug) {
  const Sum sum;
  void* const input = device::allocate(dims.size() * sizeof(float));
  device::upload(input, values<float>(dims.size(), 1).data(), dims.size() * sizeof(float));
  if (bug) device::release(input);
  sum.run(input, sum.c.data());
  if (!bug) device::release(input);
}

/// Freed on its stream between the call and the work: by another stream, which is synchronised first.
void input_freed_before_the_work(bool bug) {
  const Sum sum;
  CUstream_st* const other = device::create_stream();
  void* const input = device::allocate(dims.size() * sizeof(float));
  device::upload(input, values<float>(dims.size(), 1).data(), dims.size() * sizeof(float));
  sum.run(input, sum.c.data());
  if (!bug) sum.wait();
  device::release_on(other, input);
  device::wait_for(other);
  sum.wait();
}

void device_alpha(bool bug) {
  const Sum sum;
  const device::Array<float> alpha(std::vector<float>{1});
  sum.run(bug ? alpha.data() : &sum.one, sum.a.data(), &sum.zero, sum.c.data());
}

void device_beta(bool bug) {
  const Sum sum;
  const device::Array<float> beta(std::vector<float>{1});
  sum.run(&sum.one, sum.a.data(), bug ? beta.data() : &sum.zero, sum.c.data());
}

void overlap(bool bug) {
  const Sum sum;
  const device::Array<float> both(values<float>(2 * dims.size(), 1));
  sum.run(both.data(), both.data() + dims.size() - (bug ? 1 : 0));
}

void in_place(bool bug) {
  const Sum sum;
  sum.run(sum.a.data(), bug ? sum.a.data() : sum.c.data());
}

void destroyed_stream(bool bug) {
  Sum sum;
  CUstream_st* const stream = device::create_stream();
  check(cudnn().cudnnSetStream(sum.handle.handle, stream));
  if (bug) device::destroy_stream(stream);
  sum.run(sum.a.data(), sum.c.data());
  if (!bug) device::destroy_stream(stream);
}

void wrong_stream(bool bug) {
  const Handle handle;
  CUstream_st* const stream = device::create_stream();
  if (bug) device::destroy_stream(stream);
  check(cudnn().cudnnSetStream(handle.handle, stream));
}

void handle_in_capture(bool bug) {
  CUstream_st* const stream = device::create_stream();
  cudnnHandle_t handle = nullptr;
  if (!bug) check(cudnn().cudnnCreate(&handle));
  device::begin_capture(stream);
  if (bug) check(cudnn().cudnnCreate(&handle));
  const device::Graph graph(stream);
  check(cudnn().cudnnDestroy(handle));
}

void destruction_in_capture(bool bug) {
  CUstream_st* const stream = device::create_stream();
  cudnnHandle_t handle = nullptr;
  check(cudnn().cudnnCreate(&handle));
  device::begin_capture(stream);
  if (bug) check(cudnn().cudnnDestroy(handle));
  const device::Graph graph(stream);
  if (!bug) check(cudnn().cudnnDestroy(handle));
}

/// Right by luck: the host waits for the streams in the order in which they would have to run.
void race_between_streams(bool bug) {
  const Sum first, second;
  first.run(first.a.data(), first.c.data());
  if (!bug) first.wait();
  second.run(first.c.data(), second.c.data());
  if (bug) first.wait();
  second.wait();
}

/// A convolution, to whose workspace something happens.
void convolve(void* workspace, std::size_t bytes, float* y) {
  constexpr auto algorithm = CUDNN_CONVOLUTION_FWD_ALGO_GEMM;
  const Handle handle;
  const Tensor x_desc({1, 1, 4, 4}), y_desc({1, 1, 3, 3});
  const Filter w_desc({1, 1, 2, 2});
  const ConvolutionDescriptor convolution({});
  const device::Array<float> x(values<float>(16, 1)), w(values<float>(4, 2));
  const float one = 1, zero = 0;
  check(cudnn().cudnnConvolutionForward(handle.handle, &one, x_desc.descriptor, x.data(), w_desc.descriptor,
                                        w.data(), convolution.descriptor, algorithm, workspace, bytes, &zero,
                                        y_desc.descriptor, y));
  device::wait_for(handle.stream);
}

constexpr std::size_t workspace_bytes = 4096;

void host_workspace(bool bug) {
  std::vector<char> host(workspace_bytes);
  const device::Array<char> workspace(workspace_bytes);
  const device::Array<float> y(9);
  convolve(bug ? host.data() : workspace.data(), workspace_bytes, y.data());
}

void short_workspace(bool bug) {
  const device::Array<char> workspace(workspace_bytes - (bug ? 4 : 0));
  const device::Array<float> y(9);
  convolve(workspace.data(), workspace_bytes, y.data());
}

void workspace_over_output(bool bug) {
  const device::Array<float> y(9 + workspace_bytes / sizeof(float));
  convolve(y.data() + (bug ? 8 : 9), workspace_bytes, y.data());
}

/// The maxima of another input.
void maxima_of_another_input(bool bug) {
  const Handle handle;
  const Tensor x_desc({1, 1, 4, 4}), y_desc({1, 1, 2, 2});
  cudnnPoolingDescriptor_t pooling = nullptr;
  check(cudnn().cudnnCreatePoolingDescriptor(&pooling));
  check(cudnn().cudnnSetPooling2dDescriptor(pooling, CUDNN_POOLING_MAX_DETERMINISTIC, CUDNN_PROPAGATE_NAN, 2,
                                            2, 0, 0, 2, 2));
  const device::Array<float> x(values<float>(16, 1)), other(values<float>(16, 2)), y(4), dx(16);
  const float one = 1, zero = 0;
  check(cudnn().cudnnPoolingForward(handle.handle, pooling, &one, x_desc.descriptor, x.data(), &zero,
                                    y_desc.descriptor, y.data()));
  check(cudnn().cudnnPoolingBackward(handle.handle, pooling, &one, y_desc.descriptor, y.data(),
                                     y_desc.descriptor, y.data(), x_desc.descriptor,
                                     bug ? other.data() : x.data(), &zero, x_desc.descriptor, dx.data()));
  device::wait_for(handle.stream);
}

/// What cublasSgemm is given.
struct Product {
  cublasHandle_t handle = nullptr;
  CUstream_st* stream = device::create_stream();
  device::Array<float> a{values<float>(4, 1)}, b{values<float>(4, 2)}, c{4};
  float one = 1, zero = 0;

  Product() {
    check(cublas().cublasCreate_v2(&handle));
    check(cublas().cublasSetStream_v2(handle, stream));
  }
  void run(const float* alpha, const float* from, float* to) const {
    check(cublas().cublasSgemm_v2(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, alpha, from, 2, b.data(), 2,
                                  &zero, to, 2));
    device::wait_for(stream);
  }
};

void gemm_host_matrix(bool bug) {
  const Product product;
  const std::vector<float> host(4);
  product.run(&product.one, bug ? host.data() : product.a.data(), product.c.data());
}

void gemm_short_matrix(bool bug) {
  const Product product;
  product.run(&product.one, product.a.data(), product.c.data() + (bug ? 1 : 0));
}

void gemm_device_alpha(bool bug) {
  const Product product;
  const device::Array<float> alpha(std::vector<float>{1});
  product.run(bug ? alpha.data() : &product.one, product.a.data(), product.c.data());
}

void gemm_in_place(bool bug) {
  const Product product;
  product.run(&product.one, product.a.data(), bug ? product.a.data() : product.c.data());
}

void gemm_host_workspace(bool bug) {
  const Product product;
  alignas(256) static char host[16 << 10];
  const device::Array<char> workspace(sizeof host);
  check(cublas().cublasSetWorkspace_v2(product.handle, bug ? host : workspace.data(), sizeof host));
  product.run(&product.one, product.a.data(), product.c.data());
}

void gemm_short_workspace(bool bug) {
  const Product product;
  const device::Array<char> workspace(16 << 10);
  check(cublas().cublasSetWorkspace_v2(product.handle, workspace.data(), (16 << 10) + (bug ? 256 : 0)));
  product.run(&product.one, product.a.data(), product.c.data());
}

void gemm_handle_in_capture(bool bug) {
  CUstream_st* const stream = device::create_stream();
  cublasHandle_t handle = nullptr;
  if (!bug) check(cublas().cublasCreate_v2(&handle));
  device::begin_capture(stream);
  if (bug) check(cublas().cublasCreate_v2(&handle));
  const device::Graph graph(stream);
  check(cublas().cublasDestroy_v2(handle));
}

#define PROGRAM(name) \
  { #name, name }
const std::map<std::string, std::function<void(bool bug)>> programs = {
    PROGRAM(host_input),
    PROGRAM(host_output),
    PROGRAM(short_input),
    PROGRAM(short_output),
    PROGRAM(freed_input),
    PROGRAM(input_freed_before_the_work),
    PROGRAM(device_alpha),
    PROGRAM(device_beta),
    PROGRAM(overlap),
    PROGRAM(in_place),
    PROGRAM(destroyed_stream),
    PROGRAM(wrong_stream),
    PROGRAM(handle_in_capture),
    PROGRAM(destruction_in_capture),
    PROGRAM(race_between_streams),
    PROGRAM(host_workspace),
    PROGRAM(short_workspace),
    PROGRAM(workspace_over_output),
    PROGRAM(maxima_of_another_input),
    PROGRAM(gemm_host_matrix),
    PROGRAM(gemm_short_matrix),
    PROGRAM(gemm_device_alpha),
    PROGRAM(gemm_in_place),
    PROGRAM(gemm_host_workspace),
    PROGRAM(gemm_short_workspace),
    PROGRAM(gemm_handle_in_capture),
};
#undef PROGRAM

}  // namespace

int main(int argc, char** argv) {
  const auto program = argc > 1 ? programs.find(argv[1]) : programs.end();
  if (program == programs.end()) {
    std::fprintf(stderr, "usage: cudnn_misuse NAME [mended]\n");
    return 2;
  }
  program->second(!(argc > 2 && std::strcmp(argv[2], "mended") == 0));
  return 0;
}
