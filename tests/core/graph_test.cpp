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

}  // namespace
}  // namespace kg
