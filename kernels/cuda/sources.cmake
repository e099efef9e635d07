# The CUDA backend's sources, which nvcc compiles for the library and the C++ compiler for the tests.
set(KG_CUDA_SOURCES
  argmax.cu
  avg_pool2d.cu
  batch_norm.cu
  conv2d.cu
  conv2d_backward_weight.cu
  conv2d_general.cu
  conv2d_tiled.cu
  cross_entropy.cu
  device.cu
  dropout.cu
  elementwise.cu
  global_avg_pool2d.cu
  graph.cu
  linear.cu
  log_softmax.cu
  max_pool2d.cu
  nll_loss.cu
  reduce.cu
  relu.cu
)
list(TRANSFORM KG_CUDA_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
