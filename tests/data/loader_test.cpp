#include "unbraid/data/loader.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <set>
#include <stdexcept>
#include <thread>

#include "media/fixtures.h"
#include "unbraid/core/stop.h"

namespace unbraid {
namespace {

using std::chrono::milliseconds;
using testing::expect_data_error;
using testing::message_of;

// Sample i holds [i, epoch, training]; hooks run in `get`.
class NumberedData : public DataSet {
 public:
  explicit NumberedData(size_t size) {
    for (size_t i = 0; i < size; ++i) {
      ids_.push_back(fmt::format("s{}", i));
    }
  }

  [[nodiscard]] size_t size() const override { return ids_.size(); }
  [[nodiscard]] const std::string& id(size_t index) const override { return ids_.at(index); }
  [[nodiscard]] Sample get(size_t index, uint64_t epoch, bool training) const override {
    ++gets;
    if (hook) {
      hook(index);
    }
    Sample sample;
    sample.inputs.push_back(torch::tensor(
        {static_cast<float>(index), static_cast<float>(epoch), training ? 1.F : 0.F}));
    sample.inputs.push_back(torch::full({2, 2}, static_cast<double>(index)));
    sample.target = torch::tensor(static_cast<int64_t>(index));
    if (change) {
      change(index, sample);
    }
    return sample;
  }

  std::function<void(size_t index)> hook;
  std::function<void(size_t index, Sample& sample)> change;
  mutable std::atomic<int> gets = 0;

 private:
  std::vector<std::string> ids_;
};

// Everything that comes out of an epoch, as text.
std::string epoch_of(Loader& loader, uint64_t epoch, size_t first_batch = 0) {
  loader.start(epoch, first_batch);
  std::string text;
  while (auto batch = loader.next()) {
    text += fmt::format("{}:", batch->size());
    for (int64_t i = 0; i < batch->size(); ++i) {
      const torch::Tensor row = batch->inputs[0][i];
      text +=
          fmt::format(" {} {} {} {} {},", batch->ids[i], row[0].item<float>(), row[1].item<float>(),
                      row[2].item<float>(), batch->target[i].item<int64_t>());
    }
    text += "\n";
  }
  return text;
}

TEST(Loader, StacksSamplesInOrder) {
  for (const int workers : {0, 2}) {
    Loader loader(std::make_shared<NumberedData>(5), {.batch_size = 2, .workers = workers});
    EXPECT_EQ(loader.batches(), 3);
    EXPECT_EQ(loader.samples(), 5);
    EXPECT_FALSE(loader.next().has_value());  // not started
    EXPECT_EQ(epoch_of(loader, 7),
              "2: s0 0 7 0 0, s1 1 7 0 1,\n2: s2 2 7 0 2, s3 3 7 0 3,\n1: s4 4 7 0 4,\n");
    EXPECT_FALSE(loader.next().has_value());
    loader.start(0);
    const auto batch = loader.next();
    EXPECT_EQ(batch->inputs[1].sizes(), torch::IntArrayRef({2, 2, 2}));
    EXPECT_EQ(batch->target.sizes(), torch::IntArrayRef({2}));
  }
}

TEST(Loader, DropsAShortLastBatch) {
  Loader loader(std::make_shared<NumberedData>(5),
                {.batch_size = 2, .drop_last = true, .training = true});
  EXPECT_EQ(loader.batches(), 2);
  EXPECT_EQ(loader.samples(), 4);
  EXPECT_EQ(epoch_of(loader, 1), "2: s0 0 1 1 0, s1 1 1 1 1,\n2: s2 2 1 1 2, s3 3 1 1 3,\n");
}

TEST(Loader, DoesNotDependOnItsWorkers) {
  const auto data = std::make_shared<NumberedData>(103);
  // Makes later batches ready before earlier ones.
  data->hook = [](size_t index) {
    if (index % 7 == 0) {
      std::this_thread::sleep_for(milliseconds(1));
    }
  };
  std::string expected;
  for (const int workers : {0, 1, 2, 4, 8}) {
    Loader loader(data, {.batch_size = 8, .workers = workers, .shuffle = true, .seed = 3});
    const std::string text = epoch_of(loader, 0) + epoch_of(loader, 1);
    expected = expected.empty() ? text : expected;
    EXPECT_EQ(text, expected) << workers;
  }
}

std::vector<std::string> order_of(uint64_t seed, uint64_t epoch) {
  Loader loader(std::make_shared<NumberedData>(50),
                {.batch_size = 50, .workers = 0, .shuffle = true, .seed = seed});
  loader.start(epoch);
  return loader.next()->ids;
}

TEST(Loader, ShufflesBySeedAndEpoch) {
  const std::vector<std::string> order = order_of(1, 1);
  EXPECT_EQ(std::set<std::string>(order.begin(), order.end()).size(), 50);
  EXPECT_EQ(order, order_of(1, 1));
  EXPECT_NE(order, order_of(1, 2));
  EXPECT_NE(order, order_of(2, 1));
}

TEST(Loader, ShufflesEvenly) {
  std::vector<int> first(4);
  Loader loader(std::make_shared<NumberedData>(4),
                {.batch_size = 1, .workers = 0, .shuffle = true});
  for (uint64_t epoch = 0; epoch < 4000; ++epoch) {
    loader.start(epoch);
    ++first[loader.next()->target.item<int64_t>()];
  }
  for (const int count : first) {
    EXPECT_NEAR(count, 1000, 120);
  }
}

TEST(Loader, StartsInTheMiddle) {
  for (const int workers : {0, 1, 3}) {
    Loader loader(std::make_shared<NumberedData>(20),
                  {.batch_size = 3, .workers = workers, .shuffle = true});
    const std::string whole = epoch_of(loader, 5);
    loader.start(5, 4);
    EXPECT_EQ(loader.position(), 4);
    const std::string rest = epoch_of(loader, 5, 4);
    EXPECT_EQ(loader.position(), 7);
    EXPECT_FALSE(rest.empty());
    EXPECT_TRUE(whole.ends_with(rest));
    EXPECT_EQ(epoch_of(loader, 5, 7), "");
    EXPECT_THROW(loader.start(5, 8), std::invalid_argument);
  }
}

TEST(Loader, StartsAnewInTheMiddleOfAnEpoch) {
  const auto data = std::make_shared<NumberedData>(64);
  data->hook = [](size_t) { std::this_thread::sleep_for(std::chrono::microseconds(50)); };
  Loader reference(data, {.batch_size = 4, .workers = 0, .shuffle = true});
  Loader loader(data, {.batch_size = 4, .workers = 3, .shuffle = true});
  for (uint64_t epoch = 0; epoch < 20; ++epoch) {
    loader.start(epoch);
    for (uint64_t i = 0; i < epoch % 5; ++i) {
      loader.next();
    }
  }
  EXPECT_EQ(epoch_of(loader, 20), epoch_of(reference, 20));
}

TEST(Loader, DropsABatchOfAnOlderEpochThatEndsLate) {
  const auto data = std::make_shared<NumberedData>(4);
  std::atomic<bool> begun = false;
  std::atomic<bool> released = false;
  data->hook = [&](size_t) {
    begun = true;
    while (!released) {
      std::this_thread::sleep_for(milliseconds(1));
    }
  };
  Loader loader(data, {.batch_size = 2, .workers = 1});
  loader.start(0);
  while (!begun) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  loader.start(1);
  released = true;
  const auto batch = loader.next();
  ASSERT_EQ(batch->size(), 2);
  EXPECT_EQ(batch->inputs[0][0][1].item<float>(), 1.F);
}

TEST(Loader, ThrowsAtThePlaceOfTheBadSample) {
  for (const int workers : {0, 1, 4}) {
    const auto data = std::make_shared<NumberedData>(12);
    data->hook = [](size_t index) {
      if (index == 5) {
        throw DataError("s5 is damaged");
      }
    };
    Loader loader(data, {.batch_size = 2, .workers = workers});
    loader.start(0);
    EXPECT_EQ(loader.next()->ids[0], "s0");
    EXPECT_EQ(loader.next()->ids[0], "s2");
    expect_data_error([&] { loader.next(); }, {"s5 is damaged"});
    EXPECT_EQ(loader.position(), 3);
    EXPECT_EQ(loader.next()->ids[0], "s6");
  }
}

TEST(Loader, PassesOtherExceptionsOn) {
  const auto data = std::make_shared<NumberedData>(4);
  data->hook = [](size_t) { throw std::bad_alloc(); };
  Loader loader(data, {.batch_size = 2, .workers = 2});
  loader.start(0);
  EXPECT_THROW(loader.next(), std::bad_alloc);
  EXPECT_THROW(loader.next(), std::bad_alloc);
  EXPECT_FALSE(loader.next().has_value());
}

TEST(Loader, RefusesSamplesThatDoNotFitTogether) {
  const auto refused = [](const std::function<void(Sample&)>& change,
                          const std::vector<std::string>& parts) {
    const auto data = std::make_shared<NumberedData>(4);
    data->change = [change](size_t index, Sample& sample) {
      if (index == 2) {
        change(sample);
      }
    };
    Loader loader(data, {.batch_size = 4});
    loader.start(0);
    expect_data_error([&] { loader.next(); }, parts);
  };
  refused(
      [](Sample& sample) {
        sample.inputs[1] = torch::zeros({2, 3});
      },
      {"input 2", "Float [2, 2] in sample 's0'", "Float [2, 3] in sample 's2'"});
  refused([](Sample& sample) { sample.inputs[0] = torch::zeros({3}, torch::kDouble); },
          {"input 1", "Float [3]", "Double [3]"});
  refused([](Sample& sample) { sample.target = torch::Tensor(); }, {"'s2' has no target"});
  refused([](Sample& sample) { sample.inputs = ModalityTensors(sample.inputs.size()); },
          {"'s2' has no input"});
  refused([](Sample& sample) { sample.inputs.pop_back(); }, {"'s2' has 1"});
  refused([](Sample& sample) { sample.target = torch::zeros({1}); }, {"the target", "'s2'"});
}

TEST(Loader, PacksInputsOfSamplesThatLackSome) {
  const auto data = std::make_shared<NumberedData>(4);
  data->change = [](size_t index, Sample& sample) {
    if (index == 0 || index == 2) {
      sample.inputs[1] = torch::Tensor();
    }
  };
  Loader loader(data, {.batch_size = 3});
  loader.start(0);
  const auto batch = loader.next();
  EXPECT_EQ(batch->size(), 3);
  EXPECT_EQ(batch->inputs[0].size(0), 3);
  EXPECT_TRUE(torch::equal(batch->inputs[1].squeeze(0), data->get(1, 0, false).inputs[1]));
  EXPECT_TRUE(torch::equal(batch->presence.mask(),
                           torch::tensor({1, 0, 1, 1, 1, 0}).to(torch::kBool).view({3, 2})));
  EXPECT_TRUE(loader.next()->presence.complete());
}

TEST(Loader, RefusesToMakeNoBatch) {
  expect_data_error([] { Loader(std::make_shared<NumberedData>(0), {}); }, {"the data set has 0"});
  expect_data_error(
      [] { Loader(std::make_shared<NumberedData>(3), {.batch_size = 4, .drop_last = true}); },
      {"a batch of 4 (drop_last is set), the data set has 3"});
  EXPECT_THROW(Loader(std::make_shared<NumberedData>(3), {.batch_size = 0}), std::invalid_argument);
  EXPECT_THROW(Loader(std::make_shared<NumberedData>(3), {.workers = -1}), std::invalid_argument);
}

TEST(Loader, DecodesAheadButNotTooFar) {
  const auto data = std::make_shared<NumberedData>(400);
  Loader loader(data, {.batch_size = 4, .workers = 2});
  loader.start(0);
  const auto settles_at = [&](int expected) {
    for (int i = 0; i < 200 && data->gets < expected; ++i) {
      std::this_thread::sleep_for(milliseconds(5));
    }
    std::this_thread::sleep_for(milliseconds(20));
    return data->gets == expected;
  };
  EXPECT_TRUE(settles_at(3 * 4)) << data->gets;  // workers + 1 batches
  loader.next();
  EXPECT_TRUE(settles_at(4 * 4)) << data->gets;
}

TEST(Loader, EndsAtOnceWithWorkUnderWay) {
  const auto data = std::make_shared<NumberedData>(1000);
  data->hook = [](size_t) { std::this_thread::sleep_for(milliseconds(10)); };
  const auto start = std::chrono::steady_clock::now();
  {
    Loader loader(data, {.batch_size = 500, .workers = 2});
    loader.start(0);
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_LT(data->gets, 20);
  { const Loader unused(data, {.workers = 4}); }
}

TEST(Loader, WorkersKeepToOneThreadAndNoGradient) {
  const int before = at::get_num_threads();
  at::set_num_threads(3);
  for (const int workers : {0, 2}) {
    const auto data = std::make_shared<NumberedData>(8);
    std::atomic<int> most = 0;
    std::atomic<int> with_gradient = 0;
    data->hook = [&](size_t) {
      most = std::max<int>(most, at::get_num_threads());
      with_gradient += at::GradMode::is_enabled() ? 1 : 0;
    };
    Loader loader(data, {.batch_size = 4, .workers = workers});
    epoch_of(loader, 0);
    EXPECT_EQ(most, workers == 0 ? 3 : 1);
    EXPECT_EQ(with_gradient, 0);
    EXPECT_TRUE(at::GradMode::is_enabled());
  }
  EXPECT_EQ(at::get_num_threads(), 3);
  at::set_num_threads(before);
}

TEST(Loader, StopsWithinABatch) {
  for (const int workers : {0, 1}) {
    const auto data = std::make_shared<NumberedData>(100);
    data->hook = [](size_t index) {
      if (index == 2) {
        request_stop(SIGTERM);
      }
    };
    Loader loader(data, {.batch_size = 100, .workers = workers, .skip_damaged = true});
    loader.start(0);
    EXPECT_THROW(loader.next(), Error);
    EXPECT_EQ(data->gets, 3);
    request_stop(0);
  }
}

TEST(Loader, MeasuresItsWaits) {
  const auto data = std::make_shared<NumberedData>(4);
  data->hook = [](size_t) { std::this_thread::sleep_for(milliseconds(10)); };
  for (const int workers : {0, 1}) {
    Loader loader(data, {.batch_size = 2, .workers = workers});
    loader.start(0);
    EXPECT_EQ(loader.wait_seconds(), 0.0);
    loader.next();
    EXPECT_GE(loader.wait_seconds(), 0.015);
    EXPECT_LT(loader.wait_seconds(), 1.0);
  }
  Loader loader(data, {.batch_size = 2, .workers = 1});
  loader.start(0);
  std::this_thread::sleep_for(milliseconds(200));  // now all is there
  loader.next();
  EXPECT_LT(loader.wait_seconds(), 0.01);
}

TEST(Loader, LeavesOutWhatItIsToSkip) {
  for (const int workers : {0, 3}) {
    const auto data = std::make_shared<NumberedData>(7);
    data->hook = [](size_t index) {
      if (index == 1 || index == 4 || index == 5) {
        throw DataError(fmt::format("row {} is damaged", index));
      }
    };
    Loader loader(data, {.batch_size = 2, .workers = workers, .skip_damaged = true});
    loader.start(0);
    std::vector<std::vector<std::string>> ids;
    std::vector<std::string> reasons;
    while (auto batch = loader.next()) {
      ids.push_back(batch->ids);
      EXPECT_EQ(batch->inputs.empty(), batch->ids.empty());
      for (const SkippedSample& sample : batch->skipped) {
        reasons.push_back(sample.id + ": " + sample.reason);
      }
    }
    EXPECT_EQ(ids, (std::vector<std::vector<std::string>>{{"s0"}, {"s2", "s3"}, {}, {"s6"}}));
    EXPECT_EQ(reasons, (std::vector<std::string>{"s1: row 1 is damaged", "s4: row 4 is damaged",
                                                 "s5: row 5 is damaged"}));
  }
}

TEST(Loader, SkipsDamageAlone) {
  const auto data = std::make_shared<NumberedData>(2);
  data->hook = [](size_t /*index*/) { throw std::logic_error("a bug"); };
  Loader loader(data, {.batch_size = 2, .workers = 1, .skip_damaged = true});
  loader.start(0);
  EXPECT_THROW(loader.next(), std::logic_error);
}

}  // namespace
}  // namespace unbraid
