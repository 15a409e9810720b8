#include "unbraid/models/encoders/cnn.h"

#include <string>

#include "unbraid/models/script_source.h"

namespace unbraid {

Cnn::Cnn(int64_t in_channels, std::vector<int64_t> channels, bool maps)
    : channels_(std::move(channels)), maps_(maps) {
  TORCH_CHECK(!channels_.empty(), "[cnn] expected at least one layer, got none");
  for (size_t i = 0; i < channels_.size(); ++i) {
    const std::string number = std::to_string(i + 1);
    const int64_t inputs = i == 0 ? in_channels : channels_[i - 1];
    convolutions_.push_back(register_module(
        "conv" + number,
        torch::nn::Conv2d(
            torch::nn::Conv2dOptions(inputs, channels_[i], 3).stride(2).padding(1).bias(false))));
    norms_.push_back(register_module("bn" + number, torch::nn::BatchNorm2d(channels_[i])));
  }
}

torch::Tensor Cnn::forward(const torch::Tensor& input) {
  return encode_frames(input, [this](torch::Tensor x) {
    for (size_t i = 0; i < convolutions_.size(); ++i) {
      x = torch::relu(norms_[i]->forward(convolutions_[i]->forward(x)));
    }
    return maps_ ? x : x.mean({2, 3});
  });
}

std::string Cnn::torchscript() const {
  script::Lines body;
  for (size_t i = 1; i <= convolutions_.size(); ++i) {
    body.add("x = torch.relu({})", script::norm(script::convolution("x", fmt::format("conv{}", i),
                                                                    convolutions_[i - 1]->options),
                                                fmt::format("bn{}", i)));
  }
  if (!maps_) {
    body.add("x = torch.mean(x, [2, 3])");
  }
  return script::over_frames(body);
}

EncoderBuilder Cnn::read(Options& options) {
  const int64_t in_channels = options.integer("in_channels", 3, {.min = 1, .max = 4096});
  const auto channels =
      options.integers("channels", std::vector<int64_t>{16, 32, 64}, {.min = 1, .max = 1 << 16});
  if (channels.empty()) {
    throw options.error("channels", "expected at least one layer, got an empty list");
  }
  const bool maps = options.boolean("maps", false);
  return [=] { return std::make_shared<Cnn>(in_channels, channels, maps); };
}

}  // namespace unbraid
