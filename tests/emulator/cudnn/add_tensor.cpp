// SPDX-License-Identifier: MIT
#include "descriptors.h"

/// Sums over and along broadcast dimensions: cudnnAddTensor, and its gradient for the bias of a convolution.

using namespace standin;

cudnnStatus_t cudnnAddTensor(cudnnHandle_t handle, const void* alpha, const cudnnTensorDescriptor_t aDesc,
                             const void* A, const void* beta, const cudnnTensorDescriptor_t cDesc, void* C) {
  return return_status("cudnnAddTensor", [&] {
    const Shape a = shape_of(aDesc, "aDesc"), c = shape_of(cDesc, "cDesc");
    require(a.type == c.type, "A and C have different data types");
    const auto broadcasts = [](int from, int to) { return from == 1 || from == to; };
    require(broadcasts(a.n, c.n) && broadcasts(a.c, c.c) && broadcasts(a.h, c.h) && broadcasts(a.w, c.w),
            "a dimension of A is neither 1 nor that of C");
    DeviceCall call("cudnnAddTensor", stream_of(handle));
    const double scale = scalar(call.function(), "alpha", alpha, c);
    const double keep = scalar(call.function(), "beta", beta, c);
    const Array from = array("A", A, a), to = array("C", C, c);
    call.reads(from);
    call.writes(to);
    run(call, [=] {
      for (int i = 0; i < c.n; ++i)
        for (int j = 0; j < c.c; ++j)
          for (int y = 0; y < c.h; ++y)
            for (int x = 0; x < c.w; ++x)
              blend(
                  to, c.index(i, j, y, x), scale,
                  load(from, a.index(a.n == 1 ? 0 : i, a.c == 1 ? 0 : j, a.h == 1 ? 0 : y, a.w == 1 ? 0 : x)),
                  keep);
    });
  });
}

cudnnStatus_t cudnnConvolutionBackwardBias(cudnnHandle_t handle, const void* alpha,
                                           const cudnnTensorDescriptor_t dyDesc, const void* dy,
                                           const void* beta, const cudnnTensorDescriptor_t dbDesc, void* db) {
  return return_status("cudnnConvolutionBackwardBias", [&] {
    const Shape grad = shape_of(dyDesc, "dyDesc"), bias = shape_of(dbDesc, "dbDesc");
    require(bias == Shape{grad.type, 1, grad.c, 1, 1}, "dbDesc is not 1 x C x 1 x 1 of dyDesc's data type");
    DeviceCall call("cudnnConvolutionBackwardBias", stream_of(handle));
    const double scale = scalar(call.function(), "alpha", alpha, bias);
    const double keep = scalar(call.function(), "beta", beta, bias);
    const Array from = array("dy", dy, grad), to = array("db", db, bias);
    call.reads(from);
    call.writes(to);
    run(call, [=] {
      std::vector<double> sums(bias.size());
      for (std::size_t i = 0; i < grad.size(); ++i) sums[i / grad.plane() % sums.size()] += load(from, i);
      blend(to, scale, sums, keep);
    });
  });
}
