#include "unbraid/training/encoder_weights.h"

#include <functional>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "temporary_folder.h"
#include "unbraid/models/encoders/resnet.h"
#include "unbraid/models/initialisation.h"
#include "unbraid/training/weights.h"

namespace unbraid {
namespace {

using unbraid::testing::TemporaryFolder;
using unbraid::testing::write_text;

constexpr int64_t kWidth = 2;
const EncoderWeights kPartial = {"", true, false};
const EncoderWeights kAdapt = {"", false, true};

std::shared_ptr<ResNet> make_encoder(uint64_t seed, int64_t channels = 3) {
  auto encoder = std::make_shared<ResNet>(ResNetOptions{.in_channels = channels, .width = kWidth});
  initialise(*encoder, seed);
  encoder->named_buffers()["bn1.running_mean"].fill_(static_cast<double>(seed));
  return encoder;
}

NamedTensors copy_of(const NamedTensors& tensors) {
  NamedTensors copies;
  for (const auto& [name, tensor] : tensors) {
    copies.emplace_back(name, tensor.clone());
  }
  return copies;
}

/// The tensors of an ImageNet model: those of its encoder and a classifier.
NamedTensors image_net(uint64_t seed) {
  NamedTensors tensors = copy_of(weights_of(*make_encoder(seed)));
  tensors.emplace_back("fc.weight", torch::randn({10, 8 * kWidth}));
  tensors.emplace_back("fc.bias", torch::randn({10}));
  return tensors;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const StorageError& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "";
}

class EncoderWeightsFile : public ::testing::Test {
 protected:
  [[nodiscard]] std::string path() const { return (folder_ / "weights").string(); }

  std::string load(torch::nn::Module& encoder, EncoderWeights weights = {}) const {
    weights.path = path();
    return load_encoder_weights(encoder, weights, "audio");
  }

  void expect_refused(torch::nn::Module& encoder, const std::string& says,
                      const EncoderWeights& weights = {}) const {
    const std::string message = message_of([&] { load(encoder, weights); });
    EXPECT_TRUE(message.starts_with(path() + ": ")) << message;
    EXPECT_NE(message.find(says), std::string::npos) << "'" << says << "' is not in: " << message;
  }

  /// Writes `tensors` without those called `leave_out`.
  void write(NamedTensors tensors, const std::string& leave_out = "") const {
    if (!leave_out.empty()) {
      std::erase_if(tensors, [&](const auto& entry) { return entry.first.ends_with(leave_out); });
    }
    write_safetensors(path(), tensors);
  }

  TemporaryFolder folder_;
};

TEST_F(EncoderWeightsFile, SetsWhatTheEncoderHasAndListsTheRest) {
  const NamedTensors tensors = image_net(3);
  c10::Dict<std::string, torch::Tensor> dict;
  for (const auto& [name, tensor] : tensors) {
    dict.insert("module." + name, tensor);
  }
  const std::vector<char> pickled = torch::pickle_save(dict);
  for (const bool pth : {false, true}) {
    if (pth) {
      write_text(path(), std::string(pickled.begin(), pickled.end()));
    } else {
      write(tensors);
    }
    const auto encoder = make_encoder(4);
    EXPECT_EQ(load(*encoder),
              fmt::format("audio: weights of {}: 120 tensors matched, 0 missing, 2 unexpected "
                          "(\"fc.weight\", \"fc.bias\")",
                          path()));
    const NamedTensors found = weights_of(*encoder);
    for (const auto& [name, tensor] : found) {
      const auto entry =
          std::find_if(tensors.begin(), tensors.end(),
                       [&, key = name](const auto& one) { return one.first == key; });
      EXPECT_TRUE(torch::equal(tensor, entry->second)) << name;
    }
  }
}

TEST_F(EncoderWeightsFile, WhatIsMissingIsAnErrorUnlessItIsAllowed) {
  const auto encoder = make_encoder(4);
  write(image_net(3), "layer1.0.bn1.weight");
  expect_refused(*encoder,
                 "expected the tensors of the encoder of audio, 1 of them are missing "
                 "(layer1.0.bn1.weight); modalities.audio.weights_partial = true");
  encoder->named_parameters()["layer1.0.bn1.weight"].data().fill_(0.25);
  EXPECT_NE(load(*encoder, kPartial).find("119 tensors matched, 1 missing (layer1.0.bn1.w"),
            std::string::npos);
  EXPECT_TRUE((encoder->named_parameters()["layer1.0.bn1.weight"] == 0.25).all().item<bool>());
  EXPECT_EQ(encoder->named_buffers()["bn1.running_mean"][0].item<double>(), 3.0);
  write(image_net(3), "running_var");
  expect_refused(*encoder, "20 of them are missing (bn1.running_var, ");
  write(image_net(3), "num_batches_tracked");  // as before PyTorch 0.4.1
  EXPECT_NE(load(*encoder).find("100 tensors matched, 20 missing (bn1.num_batches_tracked, "),
            std::string::npos);
  write_safetensors(path(), {{"fc.weight", torch::zeros({2})}});
  expect_refused(*encoder, "found none of them, but 1 others (\"fc.weight\")", kPartial);
}

TEST_F(EncoderWeightsFile, ValuesThatAreNotFiniteAreRefused) {
  for (const double value : {std::nan(""), HUGE_VAL}) {
    for (const char* name : {"layer1.0.bn1.weight", "bn1.running_var"}) {
      for (const torch::ScalarType type : {torch::kFloat, torch::kHalf, torch::kBFloat16}) {
        NamedTensors tensors = image_net(3);
        for (auto& [key, tensor] : tensors) {
          if (key == name) {
            tensor = tensor.to(type);
            tensor[1] = value;
          }
        }
        write(tensors);
        expect_refused(*make_encoder(4),
                       fmt::format("{}: expected finite numbers, 1 of 2 are not", name));
      }
    }
  }
  // What the encoder has no use for may be anything; a mask may be infinite where the encoder's is.
  NamedTensors tensors = image_net(3);
  tensors.back().second.fill_(std::nan(""));
  write(tensors);
  EXPECT_NO_THROW(load(*make_encoder(4)));
  const torch::Tensor mask = torch::tensor({0.0, -HUGE_VAL});
  EXPECT_NO_THROW(check_finite(mask, mask.clone(), "file", "mask"));
  EXPECT_THROW(check_finite(mask, torch::zeros(2), "file", "mask"), StorageError);
}

TEST_F(EncoderWeightsFile, AnotherShapeNamesBoth) {
  const auto grey = make_encoder(4, 1);
  write(image_net(3));
  expect_refused(*grey,
                 "conv1.weight: expected the shape [2, 1, 7, 7] of the encoder of audio, got "
                 "[2, 3, 7, 7]; modalities.audio.adapt_channels = true makes it fit");
  ResNet wide({.in_channels = 3, .width = 4});
  expect_refused(wide,
                 "conv1.weight: expected the shape [4, 3, 7, 7] of the encoder of audio, got "
                 "[2, 3, 7, 7]",
                 kAdapt);
  write_text(path(), "nonsense");
  expect_refused(*grey, "not a safetensors file");
  expect_refused(*grey, "nor is it what torch.save writes");
}

// An input that is the same in all channels gives what it gives with the weights of the file.
TEST_F(EncoderWeightsFile, AdaptedChannelsKeepTheScaleOfActivations) {
  const NamedTensors tensors = image_net(3);
  write(tensors);
  const torch::Tensor grey = torch::randn({2, 1, 16, 16});
  const torch::Tensor expected = torch::conv2d(grey.repeat({1, 3, 1, 1}), tensors[0].second);
  ASSERT_EQ(tensors[0].first, "conv1.weight");
  for (const int64_t channels : {1, 2, 5}) {
    const auto encoder = make_encoder(4, channels);
    EXPECT_NE(load(*encoder, kAdapt).find("; channels adapted in (conv1.weight)"),
              std::string::npos);
    const torch::Tensor weight = encoder->named_parameters()["conv1.weight"];
    EXPECT_TRUE(torch::allclose(torch::conv2d(grey.repeat({1, channels, 1, 1}), weight), expected,
                                1e-4, 1e-5));
    EXPECT_TRUE(torch::allclose(weight.select(1, channels - 1),
                                tensors[0].second.sum(1) / static_cast<double>(channels), 1e-5));
  }
}

TEST(LoadWeights, WholeModelsAreReadFromPyTorchFilesToo) {
  const TemporaryFolder folder;
  const auto saved = make_encoder(3);
  c10::Dict<std::string, torch::Tensor> dict;
  for (const auto& [name, tensor] : weights_of(*saved)) {
    dict.insert(name, tensor);
  }
  const std::vector<char> pickled = torch::pickle_save(dict);
  write_text(folder / "a.pth", std::string(pickled.begin(), pickled.end()));
  const auto encoder = make_encoder(4);
  load_weights(*encoder, (folder / "a.pth").string());
  EXPECT_TRUE(torch::equal(encoder->parameters()[0], saved->parameters()[0]));
  write_text(folder / "a.pth", std::string(pickled.begin(), pickled.end() - 100));
  EXPECT_THROW(load_weights(*encoder, (folder / "a.pth").string()), StorageError);
  EXPECT_THROW(load_weights(*encoder, (folder / "none.pth").string()), StorageError);
}

}  // namespace
}  // namespace unbraid
