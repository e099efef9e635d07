# The sources that see the headers of cuDNN and cuBLAS.
set(KG_CUDNN_SOURCES
  avg_pool2d.cpp
  batch_norm.cpp
  context.cpp
  conv2d.cpp
  global_avg_pool2d.cpp
  library.cpp
  linear.cpp
  log_softmax.cpp
  max_pool2d.cpp
)
list(TRANSFORM KG_CUDNN_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
