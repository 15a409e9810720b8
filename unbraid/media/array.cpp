#include "unbraid/media/array.h"

#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "unbraid/media/file.h"
#include "unbraid/media/limits.h"
#include "unbraid/media/normalize.h"
#include "unbraid/media/npz.h"

namespace unbraid {
namespace {

constexpr std::string_view kEmptyZip = "PK\x05\x06";

NpyArray read_npy(const std::string& path, const std::string& member, int64_t max_bytes) {
  // Anything else is refused by its first bytes, however large it is.
  const File file(path);
  if (file.read(0, kZipMagic.size()) == kZipMagic) {
    return {read_npz_member(file, member, max_bytes), path};
  }
  if (file.read(0, kEmptyZip.size()) == kEmptyZip) {
    throw file.error("expected one array or more, found none");
  }
  if (file.read(0, kNpyMagic.size()) != kNpyMagic) {
    throw file.error("expected a .npy or .npz file");
  }
  return {read_file(file, max_bytes), path};
}

// The elements from `first` on that fill `shape`; a single number as a vector of one.
torch::Tensor tensor_of(const NpyArray& array, int64_t first, torch::IntArrayRef shape) {
  torch::Tensor tensor = shape.empty() ? torch::empty({1}) : torch::empty(shape);
  array.read(first, {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())});
  return tensor;
}

void require_values(int64_t count, const std::string& source) {
  if (count == 0) {
    throw DataError(fmt::format("{}: expected numbers, it holds none", source));
  }
}

}  // namespace

ArrayDecoder::ArrayDecoder(Options& options)
    : table_path_(options.path("table", "")),
      member_(options.text("member", "")),
      normalization_(options) {
  if (table_path_.empty()) {
    return;
  }
  table_ = std::make_unique<const NpyArray>(read_npy(table_path_, member_, kMaxNpyBytes));
  require_values(table_->size(), table_path_);
  if (table_->shape().empty()) {
    throw DataError(fmt::format("{}: expected rows, found a single number", table_path_));
  }
}

int64_t ArrayDecoder::row_number(const std::string& cell) const {
  const int64_t rows = table_->shape().front();
  int64_t row = -1;
  const char* end = cell.data() + cell.size();
  const auto [stop, failure] = std::from_chars(cell.data(), end, row);
  if (failure != std::errc() || stop != end || row < 0 || row >= rows) {
    throw DataError(fmt::format("{}: expected a row number from 0 to {}, found '{}'", table_path_,
                                rows - 1, cell));
  }
  return row;
}

void ArrayDecoder::check(const std::string& cell) const {
  if (table_ == nullptr) {
    check_file(cell);
  } else {
    row_number(cell);
  }
}

std::vector<std::string> ArrayDecoder::files(const std::string& cell) const {
  return {table_ == nullptr ? cell : table_path_};
}

torch::Tensor ArrayDecoder::decode(const std::string& cell) const {
  if (table_ == nullptr) {
    const NpyArray array = read_npy(cell, member_, DecodeBudget::limits().bytes);
    require_values(array.size(), cell);
    return tensor_of(array, 0, array.shape());
  }
  const std::vector<int64_t>& shape = table_->shape();
  const int64_t row_size = table_->size() / shape.front();
  return tensor_of(*table_, row_number(cell) * row_size,
                   torch::IntArrayRef(shape.data() + 1, shape.size() - 1));
}

torch::Tensor ArrayDecoder::transform(const torch::Tensor& decoded,
                                      const SampleContext& /*context*/) const {
  return normalization_.apply(decoded);
}

}  // namespace unbraid
