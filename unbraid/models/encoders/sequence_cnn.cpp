#include "unbraid/models/encoders/sequence_cnn.h"

#include <string>

#include "unbraid/models/script_source.h"

namespace unbraid {

SequenceCnn::SequenceCnn(int64_t in_features, std::vector<int64_t> channels, bool tokens)
    : in_features_(in_features), channels_(std::move(channels)), tokens_(tokens) {
  TORCH_CHECK(!channels_.empty(), "[cnn1d] expected at least one layer, got none");
  for (size_t i = 0; i < channels_.size(); ++i) {
    const std::string number = std::to_string(i + 1);
    const int64_t inputs = i == 0 ? in_features : channels_[i - 1];
    convolutions_.push_back(register_module(
        "conv" + number,
        torch::nn::Conv1d(
            torch::nn::Conv1dOptions(inputs, channels_[i], 3).stride(2).padding(1).bias(false))));
    norms_.push_back(register_module("bn" + number, torch::nn::BatchNorm1d(channels_[i])));
  }
}

torch::Tensor SequenceCnn::forward(const torch::Tensor& input) {
  TORCH_CHECK(input.dim() == 3 && input.size(2) == in_features_,
              "[cnn1d] expected sequences [B, T, ", in_features_, "], got ", input.sizes());
  torch::Tensor x = input.transpose(1, 2);
  for (size_t i = 0; i < convolutions_.size(); ++i) {
    x = torch::relu(norms_[i]->forward(convolutions_[i]->forward(x)));
  }
  return tokens_ ? x.transpose(1, 2) : x.mean(2);
}

std::string SequenceCnn::torchscript() const {
  script::Lines body;
  body.add("x = torch.transpose(x, 1, 2)");
  for (size_t i = 1; i <= convolutions_.size(); ++i) {
    body.add("x = torch.relu({})", script::norm(script::convolution("x", fmt::format("conv{}", i),
                                                                    convolutions_[i - 1]->options),
                                                fmt::format("bn{}", i)));
  }
  body.add("return {}", tokens_ ? "torch.transpose(x, 1, 2)" : "torch.mean(x, [2])");
  return script::encoder(body);
}

EncoderBuilder SequenceCnn::read(Options& options) {
  const int64_t in_features =
      options.integer("in_features", std::nullopt, {.min = 1, .max = 1 << 20});
  const auto channels =
      options.integers("channels", std::vector<int64_t>{64, 128}, {.min = 1, .max = 1 << 16});
  if (channels.empty()) {
    throw options.error("channels", "expected at least one layer, got an empty list");
  }
  const bool tokens = options.boolean("tokens", false);
  return [=] { return std::make_shared<SequenceCnn>(in_features, channels, tokens); };
}

}  // namespace unbraid
