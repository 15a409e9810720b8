#include "unbraid/training/encoder_weights.h"

#include <algorithm>
#include <map>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/safetensors_header.h"
#include "unbraid/training/weights.h"

namespace unbraid {
namespace {

constexpr int64_t kImageChannels = 3;

/// Whether the shapes are of one convolution, for images of 3 channels and for others.
bool differ_in_channels(const torch::Tensor& given, const torch::Tensor& wanted) {
  if (given.dim() < 3 || given.dim() != wanted.dim() || given.size(1) != kImageChannels) {
    return false;
  }
  std::vector<int64_t> sizes = given.sizes().vec();
  sizes[1] = wanted.size(1);
  return wanted.sizes() == at::IntArrayRef(sizes);
}

torch::Tensor with_channels(const torch::Tensor& given, int64_t channels) {
  const double scale = static_cast<double>(kImageChannels) / static_cast<double>(channels);
  const torch::Tensor mean = given.to(torch::kDouble).mean(1, true) * scale;
  std::vector<int64_t> sizes = given.sizes().vec();
  sizes[1] = channels;
  return mean.expand(sizes);
}

/// " (a, b, c and 4 more)", or nothing.
std::string in_brackets(const std::vector<std::string>& names) {
  constexpr size_t kShown = 12;
  if (names.empty()) {
    return "";
  }
  const auto end = names.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, names.size()));
  return fmt::format(
      " ({}{})", fmt::join(names.begin(), end, ", "),
      names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "");
}

}  // namespace

EncoderWeights read_encoder_weights(Options& options) {
  EncoderWeights read;
  read.path = options.path("weights", "");
  for (const auto& [key, value] : {std::pair{"weights_partial", &read.partial},
                                   std::pair{"adapt_channels", &read.adapt_channels}}) {
    if (!read.path.empty()) {
      *value = options.boolean(key, *value);
    } else if (options.has(key)) {
      throw options.error(key, "applies to weights alone, and there are none");
    }
  }
  return read;
}

std::string load_encoder_weights(torch::nn::Module& encoder, const EncoderWeights& weights,
                                 const std::string& name) {
  const torch::NoGradGuard no_grad;
  const NamedTensors file = read_weights(weights.path);
  std::map<std::string, torch::Tensor> left(file.begin(), file.end());
  std::vector<std::string> missing;
  std::vector<std::string> adapted;
  size_t matched = 0;
  for (auto& [key, tensor] : weights_of(encoder)) {
    const auto entry = left.find(key);
    if (entry == left.end()) {
      missing.push_back(key);
      continue;
    }
    torch::Tensor given = entry->second;
    if (given.sizes() != tensor.sizes()) {
      const bool adaptable = differ_in_channels(given, tensor);
      if (!adaptable || !weights.adapt_channels) {
        throw StorageError(fmt::format(
            "{}: {}: expected the shape [{}] of the encoder of {}, got [{}]{}", weights.path, key,
            fmt::join(tensor.sizes(), ", "), name, fmt::join(given.sizes(), ", "),
            adaptable ? fmt::format("; modalities.{}.adapt_channels = true makes it fit", name)
                      : ""));
      }
      given = with_channels(given, tensor.size(1));
      adapted.push_back(key);
    }
    check_finite(given, tensor, weights.path, key);
    tensor.copy_(given);
    ++matched;
    left.erase(entry);
  }
  std::vector<std::string> unexpected;
  for (const auto& [key, tensor] : file) {
    if (left.contains(key)) {
      unexpected.push_back(printable(key));
    }
  }
  if (file.empty()) {
    throw StorageError(fmt::format(
        "{}: expected the tensors of the encoder of {}, found no tensors", weights.path, name));
  }
  if (matched == 0) {
    throw StorageError(fmt::format(
        "{}: expected the tensors of the encoder of {}{}, found none of them, but {} "
        "others{}",
        weights.path, name, in_brackets(missing), file.size(), in_brackets(unexpected)));
  }
  std::vector<std::string> needed = missing;
  std::erase_if(needed,
                [](const std::string& key) { return key.ends_with("num_batches_tracked"); });
  if (!needed.empty() && !weights.partial) {
    throw StorageError(
        fmt::format("{}: expected the tensors of the encoder of {}, {} of them are missing{}; "
                    "modalities.{}.weights_partial = true leaves those as they are",
                    weights.path, name, needed.size(), in_brackets(needed), name));
  }
  return fmt::format(
      "{}: weights of {}: {} tensors matched, {} missing{}, {} unexpected{}{}", name, weights.path,
      matched, missing.size(), in_brackets(missing), unexpected.size(), in_brackets(unexpected),
      adapted.empty() ? "" : fmt::format("; channels adapted in{}", in_brackets(adapted)));
}

}  // namespace unbraid
