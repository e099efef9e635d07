// SPDX-License-Identifier: MIT
#include <atomic>
#include <chrono>
#include <thread>

#include "support.h"

namespace kg {
namespace {

using namespace testing;

/// The tests of graphs say nothing where there is no CUDA, not even an emulated one.
#define NEEDS_CUDA() \
  if (!cuda_is_available()) return

Tensor on_cuda(const Shape& shape, std::uint32_t seed) {
  return random(shape, DType::float32, seed, Device::cuda());
}

TEST_CASE("A graph does nothing when recorded and its work at each replay", "[graph]") {
  NEEDS_CUDA();
  const Tensor x = Tensor::full({5}, 3, {.device = Device::cuda()});
  Tensor total = Tensor::zeros({5}, {.device = Device::cuda()});
  Graph graph([&] { total.copy_from(total + x); });
  CHECK(total.to_vector<float>() == std::vector<float>(5, 0));
  for (int i = 0; i < 4; ++i) graph.replay();
  CHECK(total.to_vector<float>() == std::vector<float>(5, 12));
  // Other data in the tensor that the work reads.
  Tensor(x).copy_from(Tensor::full({5}, -1, {.device = Device::cuda()}));
  graph.replay();
  CHECK(total.to_vector<float>() == std::vector<float>(5, 11));
}

TEST_CASE("Work between replays does not disturb the memory inside a graph", "[graph]") {
  NEEDS_CUDA();
  const Tensor x = on_cuda({33}, 1);
  Tensor result = Tensor::zeros({33}, {.device = Device::cuda()});
  const auto work = [&] { result.copy_from((x * 2 + x) * x); };
  work();
  const Tensor expected = result.clone();
  Graph graph(work);
  std::vector<Tensor> kept;
  for (int i = 0; i < 5; ++i) {
    kept.push_back(x + x);
    result.copy_from(Tensor::zeros({33}, {.device = Device::cuda()}));
    graph.replay();
    kept.push_back(x * x);
    CHECK(same_bits(result, expected));
  }
  for (std::size_t i = 0; i < kept.size(); ++i) CHECK(same_bits(kept[i], i % 2 == 0 ? x + x : x * x));
}

TEST_CASE("Replays draw the random numbers that running the work would have drawn", "[graph][dropout]") {
  NEEDS_CUDA();
  const Tensor x = Tensor::ones({1000}, {.device = Device::cuda()});
  Generator eager(3), replayed(3);
  // Not at the beginning, and beyond what 32 bits can count.
  for (Generator* generator : {&eager, &replayed}) generator->set_state(3, (std::uint64_t{1} << 32) - 3);

  Tensor first = x.clone(), second = x.clone();
  Graph graph([&] {
    first.copy_from(dropout(x, 0.5, replayed));
    second.copy_from(dropout(x, 0.25, replayed));
  });
  CHECK(replayed.draws() == eager.draws());
  for (int i = 0; i < 4; ++i) {
    INFO("replay " << i);
    graph.replay();
    CHECK(same_bits(first, dropout(x, 0.5, eager)));
    CHECK(same_bits(second, dropout(x, 0.25, eager)));
    CHECK(replayed.draws() == eager.draws());
    if (i != 1) continue;
    // A draw of somebody else's in between.
    CHECK(same_bits(dropout(x, 0.1, replayed), dropout(x, 0.1, eager)));
  }
  replayed.set_state(3, 7);
  eager.set_state(3, 7);
  graph.replay();
  CHECK(same_bits(first, dropout(x, 0.5, eager)));
  replayed.set_state(4, 7);
  check_error([&] { graph.replay(); }, {"Graph", "seed"});
}

TEST_CASE("Two generators in one graph draw for themselves", "[graph][dropout]") {
  NEEDS_CUDA();
  const Tensor x = Tensor::ones({100}, {.device = Device::cuda()});
  Generator one(1), two(2), eager_one(1), eager_two(2);
  Tensor results[3] = {x.clone(), x.clone(), x.clone()};
  Graph graph([&] {
    results[0].copy_from(dropout(x, 0.5, one));
    results[1].copy_from(dropout(x, 0.5, two));
    results[2].copy_from(dropout(x, 0.5, one));
  });
  for (int i = 0; i < 3; ++i) {
    graph.replay();
    CHECK(same_bits(results[0], dropout(x, 0.5, eager_one)));
    CHECK(same_bits(results[1], dropout(x, 0.5, eager_two)));
    CHECK(same_bits(results[2], dropout(x, 0.5, eager_one)));
  }
  // A replay that is refused has drawn nothing.
  const std::uint64_t draws = two.draws();
  two.set_state(3, draws);
  check_error([&] { graph.replay(); }, {"Graph", "seed"});
  CHECK(one.draws() == eager_one.draws());
  two.set_state(2, draws);
  graph.replay();
  CHECK(same_bits(results[0], dropout(x, 0.5, eager_one)));
  CHECK(same_bits(results[1], dropout(x, 0.5, eager_two)));
  CHECK(same_bits(results[2], dropout(x, 0.5, eager_one)));
}

TEST_CASE("A recorded backward pass gives the gradients of an eager one", "[graph]") {
  NEEDS_CUDA();
  const Tensor x = on_cuda({7, 5}, 1);
  Tensor weight = on_cuda({3, 5}, 2), gradient = Tensor::zeros({3, 5}, {.device = Device::cuda()});
  weight.set_requires_grad();
  const auto work = [&] {
    sum(relu(linear(x, weight))).backward();
    gradient.copy_from(weight.grad());
    weight.set_grad({});
  };
  work();
  const Tensor expected = gradient.clone();
  gradient.copy_from(Tensor::zeros({3, 5}, {.device = Device::cuda()}));
  Graph graph(work);
  graph.replay();
  CHECK(same_bits(gradient, expected));
}

TEST_CASE("A graph refuses what a recording cannot hold, and all goes on afterwards", "[graph][errors]") {
  NEEDS_CUDA();
  const Tensor x = Tensor::ones({3}, {.device = Device::cuda()});
  Generator generator(1);
  Tensor kept;
  check_error([&] { Graph([&] { sum(x).item(); }); }, {"copy to the host", "recorded"});
  check_error([&] { Graph([&] { Tensor::from(std::vector<float>{1}, {1}, Device::cuda()); }); },
              {"copy from the host", "recorded"});
  check_error([&] { Graph([&] { kept = x + x; }); }, {"recorded", "leaves memory behind"});
  kept = x + x;
  check_error([&] { Graph([&] { kept = Tensor(); }); }, {"recorded", "releases memory", "before"});
  check_error([&] { Graph([&] { Graph([] {}); }); }, {"Graph", "being recorded"});
  check_error(
      [&] {
        Graph([&] {
          dropout(x, 0.5, generator);
          throw Error("the work's own");
        });
      },
      {"the work's own"});
  CHECK(generator.draws() == 0);
  CHECK((x + x).to_vector<float>() == std::vector<float>(3, 2));
  Tensor total = Tensor::zeros({3}, {.device = Device::cuda()});
  Graph graph([&] { total.copy_from(total + x); });
  graph.replay();
  CHECK(total.to_vector<float>() == std::vector<float>(3, 1));
}

TEST_CASE("After a refused recording the next step runs as if there had been none", "[graph][errors]") {
  NEEDS_CUDA();
  const Tensor x = on_cuda({7, 5}, 1);
  Tensor weight = on_cuda({3, 5}, 2).set_requires_grad(), other = on_cuda({3, 5}, 3).set_requires_grad();
  Tensor gradient;
  const auto step = [&] {
    const Tensor loss = sum(relu(linear(x, weight)) * relu(linear(x, other)));
    loss.backward();
    loss.item();  // which a recording cannot hold
    gradient = weight.grad();
    weight.set_grad({});
    other.set_grad({});
  };
  step();
  const Tensor expected = gradient.clone();
  for (int i = 0; i < 3; ++i) {
    check_error([&] { Graph graph(step); }, {"copy to the host", "recorded"});
    CHECK(!weight.grad().defined());
    CHECK(!other.grad().defined());
    // Whatever else takes the addresses that the recording's memory had.
    std::vector<Tensor> others;
    for (int j = 0; j < 20; ++j) others.push_back(x * x);
    if (i == 1) weight.set_grad({});
    step();
    CHECK(same_bits(gradient, expected));
    for (const Tensor& tensor : others) CHECK(same_bits(tensor, x * x));
  }
}

TEST_CASE("A refused recording has added nothing to gradients from before", "[graph][errors]") {
  NEEDS_CUDA();
  const Tensor x = on_cuda({5}, 1).set_requires_grad();
  const Tensor before = x.detach() * 2;
  Tensor(x).set_grad(before.clone());
  check_error(
      [&] {
        Graph graph([&] {
          sum(x * x).backward();
          throw Error("the work's own");
        });
      },
      {"the work's own"});
  CHECK(same_bits(x.grad(), before));
  sum(x * 3).backward();
  CHECK(same_bits(x.grad(), before + Tensor::full({5}, 3, {.device = Device::cuda()})));
}

TEST_CASE("A tensor that a refused recording left behind says that its memory is lost", "[graph][errors]") {
  NEEDS_CUDA();
  const Tensor x = on_cuda({5}, 1), weight = on_cuda({5}, 2).set_requires_grad();
  Generator generator(1);
  Tensor kept, view, result, gradient;
  check_error(
      [&] {
        Graph graph([&] {
          kept = x + x;
          view = kept.detach().reshape({5, 1});
          result = dropout(weight * x, 0.5, generator);
          sum(weight * x).backward();
          gradient = weight.grad();
        });
      },
      {"leaves memory behind"});
  CHECK(!weight.grad().defined());
  CHECK(kept.shape() == Shape{5});
  for (Tensor* lost : {&kept, &view, &result, &gradient}) {
    const Tensor like = Tensor::ones(lost->shape(), {.device = Device::cuda()});
    const std::initializer_list<const char*> message = {"memory is lost", "recorded for a graph", "refused"};
    check_error([&] { lost->to_vector<float>(); }, message);
    check_error([&] { *lost + like; }, message);
    check_error([&] { lost->clone(); }, message);
    check_error([&] { lost->copy_from(like); }, message);
    check_error([&] { Tensor(like).copy_from(*lost); }, message);
    check_error([&] { lost->device_data<float>(); }, message);
  }
  // Its rule would draw by a counter that is gone.
  check_error([&] { result.backward(Tensor::ones({5}, {.device = Device::cuda()})); }, {"memory is lost"});
  // Gone without a trace.
  kept = view = result = gradient = {};
  CHECK(same_bits(x + x, x * 2));
}

/// Runs `work` in the middle of a recording, on another thread. Whether it was done before the recording's
/// end, or only thereafter.
template <class Work>
bool is_done_in_recording(const Work& work) {
  const Tensor x = on_cuda({33}, 1);
  Tensor total = Tensor::zeros({33}, {.device = Device::cuda()});
  std::atomic<bool> begun = false, done = false;
  bool done_in_recording = false;
  std::thread other;
  Graph graph([&] {
    total.copy_from(total + x);
    other = std::thread([&] {
      begun = true;
      work();
      done = true;
    });
    while (!begun) std::this_thread::yield();
    // As long as anybody would need who did not wait.
    for (int i = 0; i < 50 && !done; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    done_in_recording = done;
    total.copy_from(total + x);
  });
  other.join();
  // What the other thread did is no part of the recording.
  for (int i = 1; i <= 3; ++i) {
    graph.replay();
    CHECK(difference(total, x * (2 * i), 1e-6) == "");
  }
  return done_in_recording;
}

TEST_CASE("Other threads wait while work is being recorded", "[graph][threads]") {
  NEEDS_CUDA();
  const Tensor x = on_cuda({33}, 2);
  Tensor result, to = x.clone();
  const std::vector<float> values = x.to_vector<float>();
  std::vector<float> read;
  SECTION("with kernels") {
    CHECK(!is_done_in_recording([&] { result = x * 2; }));
    CHECK(same_bits(result, x + x));
  }
  SECTION("with allocations") {
    CHECK(!is_done_in_recording([&] { result = Tensor::empty({1000}, {.device = Device::cuda()}); }));
    result.copy_from(Tensor::ones({1000}));
  }
  SECTION("with copies from the host") {
    CHECK(!is_done_in_recording([&] { to.copy_from(Tensor::ones({33})); }));
    CHECK(to.to_vector<float>() == std::vector<float>(33, 1));
  }
  SECTION("with copies to the host") {
    CHECK(!is_done_in_recording([&] { read = x.to_vector<float>(); }));
    CHECK(read == values);
  }
  SECTION("with copies on the device") {
    to = x * 3;
    CHECK(!is_done_in_recording([&] { to.copy_from(x); }));
    CHECK(same_bits(to, x));
  }
  SECTION("with a recording of their own") {
    CHECK(!is_done_in_recording([&] {
      Graph graph([&] { to.copy_from(to + x); });
      graph.replay();
      graph.replay();
    }));
    CHECK(difference(to, x * 3, 1e-6) == "");
  }
  SECTION("with a replay") {
    Graph other([&] { to.copy_from(to + x); });
    CHECK(!is_done_in_recording([&] { other.replay(); }));
    CHECK(same_bits(to, x + x));
  }
}

TEST_CASE("A release by another thread does not wait for a recording, nor disturb it", "[graph][threads]") {
  NEEDS_CUDA();
  std::vector<Tensor> kept;
  for (int i = 0; i < 5; ++i) kept.push_back(on_cuda({1000}, 1));
  const Tensor x = on_cuda({1000}, 2);
  CHECK(is_done_in_recording([&] { kept.clear(); }));
  for (int i = 0; i < 5; ++i) kept.push_back(x * 2);
  for (const Tensor& tensor : kept) CHECK(same_bits(tensor, x + x));
}

TEST_CASE("Memory of a recording that another thread releases is left behind", "[graph][threads][errors]") {
  NEEDS_CUDA();
  const Tensor x = on_cuda({5}, 1);
  check_error(
      [&] {
        Graph graph([&] {
          Tensor inside = x + x;
          std::thread([&inside] { inside = {}; }).join();
        });
      },
      {"leaves memory behind"});
  CHECK(same_bits(x + x, x * 2));
}

TEST_CASE("Threads that record and threads that do not come to the results of each alone",
          "[graph][threads]") {
  NEEDS_CUDA();
  const Tensor x = on_cuda({33}, 1);
  const Tensor expected = relu(x * 2) + x;
  std::atomic<int> wrong = 0;
  const auto record = [&] {
    Tensor result = x.clone();
    for (int i = 0; i < 5; ++i) {
      Graph graph([&] { result.copy_from(relu(x * 2) + x); });
      result.copy_from(x);
      graph.replay();
      wrong += !same_bits(result, expected);
    }
  };
  const auto run = [&] {
    for (int i = 0; i < 20; ++i) wrong += !same_bits(relu(x * 2) + x, expected);
  };
  std::vector<std::thread> threads;
  threads.emplace_back(record);
  threads.emplace_back(run);
  threads.emplace_back(record);
  threads.emplace_back(run);
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("A replay overwrites what the recorded work does", "[graph][saved]") {
  NEEDS_CUDA();
  const Tensor x = on_cuda({5}, 1);
  Tensor total = Tensor::zeros({5}, {.device = Device::cuda()}), on_cpu = Tensor::zeros({5});
  Tensor weight = on_cuda({5}, 2).set_requires_grad();
  Graph graph([&] {
    on_cpu.copy_from(Tensor::ones({5}));
    total.copy_from(total + x);
    total.detach().copy_from(total + x);
  });
  const std::uint64_t total_before = total.version(), x_before = x.version(), cpu_before = on_cpu.version();
  graph.replay();
  CHECK(total.version() == total_before + 1);
  CHECK(x.version() == x_before);
  CHECK(on_cpu.version() == cpu_before);
  const Tensor loss = sum(weight * total);
  SECTION("which may have been saved") {
    graph.replay();
    check_error([&] { loss.backward(); }, {"mul: b", "overwritten"});
  }
  SECTION("or not") {
    loss.backward();
    graph.replay();
    CHECK(difference(weight.grad(), x * 2, 1e-6) == "");
  }
}

TEST_CASE("There is no replay without the memory that the recorded work used", "[graph][errors]") {
  NEEDS_CUDA();
  Tensor x = on_cuda({5}, 1), total = Tensor::zeros({5}, {.device = Device::cuda()});
  Tensor weight = on_cuda({1, 5}, 2).set_requires_grad();
  weight.set_grad(Tensor::zeros({1, 5}, {.device = Device::cuda()}));
  const auto work = [&] {
    total.copy_from(total + x);
    sum(linear(x, weight)).backward();
  };
  work();
  Graph graph(work);
  graph.replay();
  const std::uint64_t version = total.version();
  SECTION("read") { x = {}; }
  SECTION("overwritten") { total = {}; }
  SECTION("in backward") { weight.set_data(on_cuda({1, 5}, 3)); }
  SECTION("the gradient that it adds to") { weight.set_grad({}); }
  check_error([&] { graph.replay(); }, {"Graph", "uses", "gone"});
  if (total.defined()) CHECK(total.version() == version);
}

TEST_CASE("A replay adds to gradients from before, and that counts as overwriting", "[graph][saved]") {
  NEEDS_CUDA();
  const Tensor x = on_cuda({5}, 1).set_requires_grad();
  Tensor(x).set_grad(Tensor::zeros({5}, {.device = Device::cuda()}));
  Graph graph([&] { sum(x * 3).backward(); });
  const std::uint64_t before = x.grad().version();
  graph.replay();
  graph.replay();
  CHECK(x.grad().version() == before + 2);
  CHECK(x.grad().to_vector<float>() == std::vector<float>(5, 6));
}

TEST_CASE("A graph draws from as many generators as it has room for", "[graph][dropout]") {
  NEEDS_CUDA();
  constexpr std::size_t most = 16;
  const Tensor x = Tensor::ones({100}, {.device = Device::cuda()});
  std::vector<Generator> generators, eager;
  std::vector<Tensor> results;
  for (std::size_t i = 0; i <= most; ++i) {
    generators.emplace_back(i);
    eager.emplace_back(i);
    results.push_back(x.clone());
  }
  const auto work = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) results[i].copy_from(dropout(x, 0.5, generators[i]));
  };
  Graph graph([&] { work(most); });
  for (int replay = 0; replay < 2; ++replay) {
    graph.replay();
    for (std::size_t i = 0; i < most; ++i) CHECK(same_bits(results[i], dropout(x, 0.5, eager[i])));
  }
  check_error([&] { Graph([&] { work(most + 1); }); }, {"Graph", "more than 16 generators"});
  for (std::size_t i = 0; i <= most; ++i) CHECK(generators[i].draws() == eager[i].draws());
}

TEST_CASE("A graph that was moved away cannot be replayed", "[graph][errors]") {
  NEEDS_CUDA();
  Tensor x = Tensor::zeros({3}, {.device = Device::cuda()});
  const Tensor one = Tensor::ones({3}, {.device = Device::cuda()});
  Graph graph([&] { x.copy_from(x + one); });
  Graph moved = std::move(graph);
  check_error([&] { graph.replay(); }, {"Graph", "moved away"});
  moved.replay();
  CHECK(x.to_vector<float>() == std::vector<float>(3, 1));
}

}  // namespace
}  // namespace kg
