#include "unbraid/media/label_map.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/media/file.h"
#include "unbraid/media/image.h"
#include "unbraid/media/image_codecs.h"
#include "unbraid/media/limits.h"
#include "unbraid/media/npy.h"

namespace unbraid {
namespace {

// float [height, width].
torch::Tensor read_array(std::string content, const std::string& path) {
  const NpyArray array(std::move(content), path);
  std::vector<int64_t> shape = array.shape();
  if (shape.size() == 3 && shape.front() == 1) {
    shape.erase(shape.begin());
  }
  if (shape.size() != 2) {
    throw DataError(fmt::format("{}: expected the shape [height, width], found [{}]", path,
                                fmt::join(shape, ", ")));
  }
  check_image_size(shape[0], shape[1], path);
  DecodeBudget::require_memory(array.size() * static_cast<int64_t>(sizeof(float)), path);
  torch::Tensor numbers = torch::empty(shape);
  array.read(0, {numbers.data_ptr<float>(), static_cast<size_t>(numbers.numel())});
  return numbers;
}

// The pixel of `inputs` that is nearest to the centre of each of `outputs`.
torch::Tensor nearest_of(int64_t inputs, int64_t outputs) {
  torch::Tensor places = torch::empty({outputs}, torch::kLong);
  auto* place = places.data_ptr<int64_t>();
  for (int64_t i = 0; i < outputs; ++i) {
    place[i] = (2 * i + 1) * inputs / (2 * outputs);
  }
  return places;
}

}  // namespace

void LabelMapDecoder::check(const std::string& cell) const { check_file(cell); }

torch::Tensor LabelMapDecoder::decode(const std::string& cell) const {
  std::string content = read_file(cell, std::min(kMaxImageBytes, DecodeBudget::limits().bytes));
  torch::Tensor numbers;
  if (content.starts_with("\x89PNG\r\n\x1a\n")) {
    numbers = decode_png_numbers(content, cell).squeeze(2).to(torch::kInt);
  } else if (content.starts_with(kNpyMagic)) {
    numbers = read_array(std::move(content), cell);
  } else {
    throw DataError(fmt::format("{}: expected a label for each pixel, a PNG or .npy file", cell));
  }
  torch::Tensor wrong = (numbers < 0).logical_or_(numbers >= labels_.classes);
  if (numbers.is_floating_point()) {
    wrong.logical_or_(numbers != numbers.floor());
  }
  wrong.logical_and_(numbers != labels_.ignore);
  if (wrong.any().item<bool>()) {
    const int64_t first = wrong.flatten().to(torch::kByte).argmax().item<int64_t>();
    throw DataError(fmt::format(
        "{}: expected classes from 0 to {}, or {} (task.ignore), found {} "
        "in row {}, column {}",
        cell, labels_.classes - 1, labels_.ignore, numbers.flatten()[first].item<double>(),
        first / numbers.size(1), first % numbers.size(1)));
  }
  return numbers;
}

torch::Tensor LabelMapDecoder::transform(const torch::Tensor& decoded,
                                         const SampleContext& /*context*/) const {
  return decoded.index_select(0, nearest_of(decoded.size(0), labels_.height))
      .index_select(1, nearest_of(decoded.size(1), labels_.width))
      .to(torch::kLong);
}

}  // namespace unbraid
