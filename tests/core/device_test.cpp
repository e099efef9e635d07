// SPDX-License-Identifier: MIT
#include "support.h"

namespace kg {
namespace {

using namespace testing;

TEST_CASE("Devices have names, and names give devices", "[device]") {
  CHECK(Device::cpu().name() == "cpu");
  CHECK(Device::cuda().name() == "cuda");
  CHECK(Device() == Device::cpu());
  CHECK(Device::cpu().is_cpu());
  CHECK(!Device::cpu().is_cuda());
  CHECK(Device::parse("cpu") == Device::cpu());
  CHECK(Device::parse("auto") == Device::best());
  for (const char* name : {"", "gpu", "CPU", "cuda:0", "cpu "})
    check_error([&] { Device::parse(name); }, {"device", name, "expected auto, cpu or cuda"});
}

TEST_CASE("Without CUDA, asking for it says why there is none", "[device][errors]") {
  if (cuda_is_available()) {
    CHECK(cuda_unavailable_reason() == "");
    CHECK(Device::best() == Device::cuda());
    CHECK(Device::parse("cuda") == Device::cuda());
    CHECK(cuda_device_name() != "");
    return;
  }
  const std::string reason = cuda_unavailable_reason();
  CHECK(reason != "");
  CHECK(Device::best() == Device::cpu());
  check_error([] { Device::parse("cuda"); }, {"device", "cuda", reason.c_str()});
  check_error([] { Tensor::zeros({1}, {.device = Device::cuda()}); }, {reason.c_str()});
  check_error([] { Tensor::zeros({1}).to(Device::cuda()); }, {reason.c_str()});
  check_error([] { Tensor::from(std::vector<float>{1}, {1}, Device::cuda()); }, {reason.c_str()});
  check_error([] { nn::Linear(1, 1).to(Device::cuda()); }, {reason.c_str()});
  check_error([] { cuda_device_name(); }, {"cuda_device_name", reason.c_str()});
}

TEST_CASE("set_num_threads takes 1 and more", "[device][errors]") {
  const int before = num_threads();
  CHECK(before >= 1);
  set_num_threads(3);
  CHECK(num_threads() == 3);
  check_error([] { set_num_threads(0); }, {"set_num_threads", "0", "at least 1"});
  check_error([] { set_num_threads(-2); }, {"set_num_threads", "-2"});
  check_error([] { set_num_threads(1025); }, {"set_num_threads", "1025", "at most 1024"});
  CHECK(num_threads() == 3);
  set_num_threads(before);
}

TEST_CASE("A graph without CUDA is an error", "[graph][errors]") {
  if (cuda_is_available()) return;
  check_error([] { Graph([] {}); }, {"Graph", "cuda is not available", cuda_unavailable_reason().c_str()});
}

}  // namespace
}  // namespace kg
