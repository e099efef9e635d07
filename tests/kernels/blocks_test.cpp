// SPDX-License-Identifier: MIT
#include <cstring>
#include <thread>

#include "simd_targets.h"
#include "support.h"
#include "thread_count.h"

/// Results that the CPU keeps in a form of its own (kernels/form.h): whoever looks at them, wherever, sees
/// what he would have seen without.
namespace kg {
namespace {

using namespace testing;

/// More images than a vector has lanes, the last block not full, whatever the vector.
constexpr std::int64_t images = 31;

/// What happens to the results between operations: bit i says that the elements of the i-th are read, which
/// makes them plain for all that comes after.
struct Reader {
  unsigned which;
  int next = 0;

  Tensor operator()(const Tensor& x) {
    if (which >> next++ & 1) static_cast<void>(x.bytes());
    return x;
  }
};

constexpr unsigned nothing = 0, everything = ~0u;

struct Configuration {
  bool training, relu_before, relu_after;
  double dropout;

  BatchNormOptions options(Generator& generator) const {
    return {.training = training,
            .relu_before = relu_before,
            .relu_after = relu_after,
            .dropout = dropout,
            .generator = &generator};
  }
};

const Configuration configurations[] = {
    {true, true, false, 0},  {true, false, true, 0.3},  {true, true, true, 0},  {true, true, false, 0.2},
    {true, false, false, 0}, {false, true, false, 0.4}, {false, false, true, 0}};

/// Every operation that takes part, in an order in which each comes after each that may stand before it.
/// Inputs: images, three weights, a bias of the last, two gammas and betas.
Function network(const Configuration& configuration, unsigned read) {
  return [=](const std::vector<Tensor>& t) {
    Reader seen{read};
    Generator generator(5);
    const auto normalized = [&](const Tensor& x, const Tensor& gamma, const Tensor& beta) {
      const Tensor mean = Tensor::full(gamma.shape(), 0.25, gamma.options()),
                   var = Tensor::full(gamma.shape(), 1.5, gamma.options());
      return seen(batch_norm(x, gamma, beta, mean, var, configuration.options(generator)));
    };
    Tensor x = seen(conv2d(t[0], t[1]));
    x = normalized(x, t[3], t[4]);
    x = seen(conv2d(x, t[5], {.padding = {1, 2}}));
    x = seen(max_pool2d(x, 3, {.stride = 2, .padding = 1}));
    x = normalized(x, t[6], t[7]);
    x = seen(max_pool2d(x, 2));
    x = seen(conv2d(x, t[8], t[2]));
    return global_avg_pool2d(x);
  };
}

/// Functions of one element and dropout by themselves, in the same places. A logarithm makes infinities of
/// the zeros in lanes without an image.
Function network_of_functions(unsigned read) {
  return [=](const std::vector<Tensor>& t) {
    Reader seen{read};
    Generator generator(5);
    Tensor x = seen(relu(conv2d(t[0], t[1])));
    x = seen(dropout(conv2d(x, t[5], {.padding = {1, 2}}), 0.3, generator));
    x = seen(max_pool2d(x, 3, {.stride = 2, .padding = 1}));
    x = seen(gelu(conv2d(x, t[9], {.padding = 2})));
    x = seen(log(square(conv2d(x, t[5], {.padding = 1}))));
    x = seen(sigmoid(relu(dropout(x, 0.2, generator))));
    return global_avg_pool2d(conv2d(x, t[8], t[2]));
  };
}

/// More than either network has.
constexpr unsigned results = 7;

std::vector<Tensor> inputs_of(DType dtype) {
  const auto values = [&](const Shape& shape, std::uint32_t seed) { return random(shape, dtype, seed); };
  return {values({images, 2, 13, 11}, 1),
          values({5, 2, 3, 3}, 2),
          values({3}, 3),
          values({5}, 4),
          values({5}, 5),
          values({9, 5, 3, 3}, 6),
          values({9}, 7),
          values({9}, 8),
          values({3, 9, 1, 1}, 9),
          values({5, 9, 3, 3}, 10)};
}

void check_same(const Run& actual, const Run& expected, double tolerance) {
  const auto close = [&](const Tensor& a, const Tensor& b) {
    double largest = 0;
    for (const double value : to_doubles(b)) largest = std::max(largest, std::abs(value));
    const std::vector<double> all(static_cast<std::size_t>(b.numel()), largest);
    return difference(a, reference::Values(b.shape(), to_doubles(b), all), tolerance);
  };
  CHECK(close(actual.output, expected.output) == "");
  for (std::size_t i = 0; i < actual.gradients.size(); ++i) {
    if (!expected.gradients[i].defined()) continue;
    INFO("gradient " << i);
    CHECK(close(actual.gradients[i], expected.gradients[i]) == "");
  }
}

void check_readers(DType dtype, const std::function<Function(unsigned)>& network_read) {
  INFO(name_of(dtype));
  const std::vector<Tensor> inputs = requiring(inputs_of(dtype));
  const Run plain = run(network_read(everything), inputs);
  const double tolerance = dtype == DType::float32 ? 2e-4 : 1e-12;
  check_same(run(network_read(nothing), inputs), plain, tolerance);
  for (unsigned i = 0; i < results; ++i) {
    INFO("result " << i << " read");
    check_same(run(network_read(1u << i), inputs), plain, tolerance);
  }
}

TEST_CASE("Who reads a result between operations changes nothing", "[blocks]") {
  for (const DType dtype : {DType::float32, DType::float64}) {
    for (const Configuration& c : configurations) {
      INFO("training " << c.training << ", relu " << c.relu_before << c.relu_after << ", dropout "
                       << c.dropout);
      check_readers(dtype, [&](unsigned read) { return network(c, read); });
    }
    check_readers(dtype, network_of_functions);
  }
}

TEST_CASE("Every instruction set computes in blocks what it computes without", "[blocks][simd]") {
  const std::function<Function(unsigned)> networks[] = {
      [](unsigned read) { return network(configurations[1], read); },
      [](unsigned read) { return network(configurations[3], read); }, network_of_functions};
  for_each_target([&] {
    for (const DType dtype : {DType::float32, DType::float64})
      for (const auto& network_read : networks) {
        const std::vector<Tensor> inputs = requiring(inputs_of(dtype));
        check_same(run(network_read(nothing), inputs), run(network_read(everything), inputs),
                   dtype == DType::float32 ? 2e-4 : 1e-12);
      }
  });
}

TEST_CASE("Results are kept in blocks where nobody reads them", "[blocks]") {
  forget_backend_choices();
  run(network(configurations[0], nothing), requiring(inputs_of(DType::float32)));
  std::vector<std::string> in_blocks;
  for (const BackendChoice& choice : backend_choices())
    if (choice.variant == "blocks" && choice.device.is_cpu()) in_blocks.push_back(choice.operation);
  const auto count = [&](const char* operation) { return std::ranges::count(in_blocks, operation); };
  CHECK(count("conv2d forward") == 3);
  CHECK(count("conv2d backward") == 3);
  CHECK(count("batch_norm forward_training") == 2);
  CHECK(count("batch_norm backward") == 2);
  CHECK(count("max_pool2d forward and backward") == 2);
}

TEST_CASE("Gradients of a network in blocks pass the check by differences", "[blocks][gradcheck]") {
  // Without relu and pooling, whose kinks some of so many values are near to.
  for (const bool training : {true, false})
    for (const double dropout : {0.0, 0.3}) {
      const Configuration c{training, false, false, dropout};
      const Function smooth = [&](const std::vector<Tensor>& t) {
        Generator generator(5);
        const Tensor ones = Tensor::ones({5}, {.dtype = DType::float64});
        const Tensor x = batch_norm(conv2d(t[0], t[1]), t[3], t[4], ones, ones, c.options(generator));
        return global_avg_pool2d(conv2d(x, t[5], {.padding = 1}));
      };
      const std::vector<Tensor> all = inputs_of(DType::float64);
      check_gradients_along_directions(smooth, {all.begin(), all.begin() + 6});
    }
}

TEST_CASE("Every gradient of a network in blocks is the same without the others", "[blocks]") {
  const std::vector<Tensor> inputs = inputs_of(DType::float32);
  const Run all = run(network(configurations[3], nothing), requiring(inputs));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!all.gradients[i].defined()) continue;
    std::vector<bool> wanted(inputs.size(), false);
    wanted[i] = true;
    INFO("input " << i);
    const Run one = run(network(configurations[3], nothing), requiring(inputs, wanted));
    CHECK(same_bits(one.output, all.output));
    CHECK(same_bits(one.gradients[i], all.gradients[i]));
  }
}

TEST_CASE("A network in blocks has the same bits for any number of threads", "[blocks]") {
  for (const DType dtype : {DType::float32, DType::float64}) {
    const auto with_threads = [&](int count) {
      const ThreadCount threads(count);
      return run(network(configurations[3], nothing), requiring(inputs_of(dtype)));
    };
    const Run one = with_threads(1);
    for (const int count : {2, 3, 7}) {
      INFO(count << " threads");
      const Run many = with_threads(count);
      CHECK(same_bits(many.output, one.output));
      for (std::size_t i = 0; i < one.gradients.size(); ++i)
        CHECK(same_bits(many.gradients[i], one.gradients[i]));
    }
  }
}

/// conv2d and batch_norm: a result that has yet to be computed.
Tensor pending(const std::vector<Tensor>& t) {
  return batch_norm(conv2d(t[0], t[1]), t[3], t[4], {}, {}, {.training = true, .relu_before = true});
}

TEST_CASE("A pending result seen by other operations is what it would be without", "[blocks]") {
  const std::vector<Tensor> inputs = inputs_of(DType::float64);
  const Tensor before = pending(inputs);
  Tensor read = pending(inputs);
  static_cast<void>(read.bytes());
  const std::vector<double> values = to_doubles(read);
  SECTION("two at once, and a copy") {
    CHECK(to_doubles(before + before) == to_doubles(read + read));
    CHECK(to_doubles(pending(inputs).clone()) == values);
    CHECK(to_doubles(pending(inputs).detach()) == values);
    CHECK(pending(inputs).to_vector<double>() == values);
  }
  SECTION("under another shape") {
    const Shape shape = {images, 1, 55, 9};
    CHECK(to_doubles(pending(inputs).reshape(shape)) == values);
    const Tensor kernel = random({2, 1, 3, 3});
    CHECK(difference(conv2d(pending(inputs).reshape(shape), kernel), conv2d(read.reshape(shape), kernel),
                     1e-9) == "");
    CHECK(difference(max_pool2d(pending(inputs).reshape(shape), 2), max_pool2d(read.reshape(shape), 2), 0) ==
          "");
    CHECK(difference(global_avg_pool2d(pending(inputs).reshape(shape)),
                     global_avg_pool2d(read.reshape(shape)), 1e-12) == "");
  }
  SECTION("as images of another number") {
    const Shape shape = {5 * images, 1, 11, 9};
    const Tensor kernel = random({2, 1, 3, 3});
    CHECK(difference(conv2d(pending(inputs).reshape(shape), kernel), conv2d(read.reshape(shape), kernel),
                     1e-9) == "");
    CHECK(difference(max_pool2d(pending(inputs).reshape(shape), 2), max_pool2d(read.reshape(shape), 2), 0) ==
          "");
    CHECK(difference(global_avg_pool2d(pending(inputs).reshape(shape)),
                     global_avg_pool2d(read.reshape(shape)), 1e-12) == "");
  }
  SECTION("under NoGrad") {
    const NoGrad no_grad;
    CHECK(to_doubles(pending(inputs)) == values);
  }
  SECTION("from two threads") {
    const Tensor shared = pending(inputs);
    std::vector<double> seen[2];
    std::thread other([&] { seen[0] = shared.to_vector<double>(); });
    seen[1] = shared.to_vector<double>();
    other.join();
    CHECK(seen[0] == values);
    CHECK(seen[1] == values);
  }
}

TEST_CASE("A convolution computed later is of what there was when it was called", "[blocks]") {
  const NoGrad no_grad;
  for (const DType dtype : {DType::float32, DType::float64}) {
    const std::vector<Tensor> t = inputs_of(dtype);
    const auto from_blocks = [&](const Tensor&, const Tensor& weight, const Tensor& bias) {
      return conv2d(conv2d(pending(t), t[5]), weight, bias);
    };
    const auto from_plain = [](const Tensor& plain, const Tensor& weight, const Tensor& bias) {
      return conv2d(plain, weight, bias, {.padding = {1, 1}});
    };
    const std::vector<std::function<Tensor(const Tensor&, const Tensor&, const Tensor&)>> calls = {
        from_blocks, from_plain};
    for (const auto& call : calls) {
      const Shape kernel = &call == &calls[0] ? Shape{3, 9, 1, 1} : Shape{3, 9, 3, 3};
      Tensor arguments[] = {random({images, 9, 13, 11}, dtype, 11), random(kernel, dtype, 12), t[2].clone()};
      const Tensor expected = call(arguments[0], arguments[1], arguments[2]);
      static_cast<void>(expected.bytes());
      const Tensor result = call(arguments[0], arguments[1], arguments[2]);
      for (Tensor& argument : arguments)
        argument.copy_from(Tensor::zeros(argument.shape(), argument.options()));
      CHECK(same_bits(result, expected));
    }
  }
}

TEST_CASE("A convolution computed later may have many readers at once", "[blocks]") {
  const NoGrad no_grad;
  const std::vector<Tensor> t = inputs_of(DType::float64);
  const auto shared_of = [&] { return conv2d(pending(t), t[5], {.padding = {1, 1}}); };
  const auto readers_of = [&](const Tensor& x) {
    return std::vector<std::function<Tensor()>>{
        [&] { return conv2d(x, t[8], t[2]); }, [&] { return global_avg_pool2d(x); },
        [&] { return max_pool2d(x, 2); },
        [&] { return batch_norm(x, t[6], t[7], {}, {}, {.training = true}); }};
  };
  const Tensor read = shared_of();
  static_cast<void>(read.bytes());
  for (int round = 0; round < 10; ++round) {
    const Tensor shared = shared_of();
    const auto readers = readers_of(shared), expected = readers_of(read);
    std::vector<Tensor> seen(2 * readers.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < seen.size(); ++i)
      threads.emplace_back([&, i] {
        const NoGrad in_this_thread;
        seen[i] = readers[i % readers.size()]();
      });
    for (std::thread& thread : threads) thread.join();
    for (std::size_t i = 0; i < seen.size(); ++i) {
      INFO("reader " << i);
      CHECK(difference(seen[i], expected[i % readers.size()](), 1e-9) == "");
    }
  }
}

TEST_CASE("Convolutions are computed later through any number of layers", "[blocks]") {
  const NoGrad no_grad;
  const Tensor weight = random({2, 2, 3, 3}, DType::float64, 1),
               gamma = Tensor::ones({2}, {.dtype = DType::float64}),
               zero = Tensor::zeros({2}, gamma.options());
  // Divided by the squares of what they add up to, so that the values stay of a size.
  const Tensor var = Tensor::full({2}, 4, gamma.options());
  const auto through = [&](int layers, bool read) {
    Tensor x = max_pool2d(conv2d(random({images, 2, 6, 5}, DType::float64, 2), weight), 2);
    for (int i = 0; i < layers; ++i) {
      x = batch_norm(conv2d(x, weight, {.padding = {1, 1}}), gamma, zero, zero, var,
                     {.relu_after = i % 2 == 0});
      if (read) static_cast<void>(x.bytes());
    }
    return x;
  };
  for (const int layers : {1, 3, 4, 5, 9, 20}) {
    INFO(layers << " layers");
    CHECK(difference(through(layers, false), through(layers, true), 1e-12) == "");
  }
  // Deeper than a stack that each would take a part of.
  CHECK(difference(through(20000, false), through(20000, true), 1e-12) == "");
}

TEST_CASE("A result overwritten after it was saved in a form is an error, and what it was made into stays",
          "[blocks]") {
  const std::vector<Tensor> inputs = requiring(inputs_of(DType::float32));
  Tensor convolved = conv2d(inputs[0], inputs[1]);
  const Tensor normalized = batch_norm(convolved, inputs[3], inputs[4], {}, {}, {.training = true});
  const std::vector<double> expected =
      to_doubles(batch_norm(convolved, inputs[3], inputs[4], {}, {}, {.training = true}));
  std::ranges::fill(convolved.span<float>(), 0.0f);
  convolved.bump_version();
  CHECK(to_doubles(normalized) == expected);
  check_error([&] { sum(normalized).backward(); }, {"batch_norm", "input"});
}

TEST_CASE("A gradient is seen as it is by a rule of a user's own between operations in blocks", "[blocks]") {
  const std::vector<Tensor> inputs = inputs_of(DType::float64);
  Tensor seen;
  const auto watched = [&](const Tensor& x) {
    Tensor copy = x.clone();
    return record("watched", copy, {x}, [&seen](const BackwardCall& call) -> std::vector<Tensor> {
      seen = call.grad_output.clone();
      return {call.grad_output};
    });
  };
  const auto through = [&](bool watch) {
    return run(
        [&](const std::vector<Tensor>& t) {
          const Tensor x = pending(t);
          return conv2d(watch ? watched(x) : x, t[5]);
        },
        requiring(inputs));
  };
  check_same(through(true), through(false), 1e-12);
  CHECK(seen.shape() == Shape{images, 5, 11, 9});
}

}  // namespace
}  // namespace kg
