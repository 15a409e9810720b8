#include "unbraid/core/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <numeric>

#include <fmt/format.h>

#include "unbraid/core/durable_file.h"
#include "unbraid/core/error.h"
#include "unbraid/core/safetensors_header.h"

namespace unbraid {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

const std::array<std::pair<std::string, torch::ScalarType>, 10> kScalarTypes = {{
    {"F64", torch::kFloat64},
    {"F32", torch::kFloat32},
    {"F16", torch::kFloat16},
    {"BF16", torch::kBFloat16},
    {"I64", torch::kInt64},
    {"I32", torch::kInt32},
    {"I16", torch::kInt16},
    {"I8", torch::kInt8},
    {"U8", torch::kUInt8},
    {"BOOL", torch::kBool},
}};

torch::ScalarType scalar_type_of(const std::string& dtype) {
  return std::find_if(kScalarTypes.begin(), kScalarTypes.end(),
                      [&](const auto& known) { return known.first == dtype; })
      ->second;
}

std::string dtype_of(const std::string& name, const torch::Tensor& tensor,
                     const std::string& path) {
  const auto fail = [&](const std::string& what) {
    throw StorageError(
        fmt::format("{}: cannot be written: tensor {} {}", path, printable(name), what));
  };
  if (!tensor.defined()) {
    fail("is undefined");
  }
  if (tensor.layout() != torch::kStrided || tensor.is_meta()) {
    fail("is not a dense tensor with data");
  }
  const auto* const found =
      std::find_if(kScalarTypes.begin(), kScalarTypes.end(),
                   [&](const auto& known) { return known.second == tensor.scalar_type(); });
  if (found == kScalarTypes.end()) {
    fail(fmt::format("has dtype {}, which the format lacks", c10::toString(tensor.scalar_type())));
  }
  return found->first;
}

// Wide elements first, so that every tensor is aligned to its element size.
std::vector<size_t> storage_order(const NamedTensors& tensors) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t left, size_t right) {
    return tensors[left].second.element_size() > tensors[right].second.element_size();
  });
  return order;
}

// Any other byte in a C++ bool is undefined behaviour.
void check_booleans(const torch::Tensor& tensor, const std::string& name, const std::string& path) {
  const auto* bytes = static_cast<const uint8_t*>(tensor.data_ptr());
  const auto* end = bytes + tensor.numel();
  if (std::any_of(bytes, end, [](uint8_t byte) { return byte > 1; })) {
    throw StorageError(
        fmt::format("{}: tensor {}: a BOOL is neither 0 nor 1", path, printable(name)));
  }
}

torch::Tensor read_tensor(const InputFile& file, uint64_t data_start,
                          const SafetensorsEntry& entry) {
  torch::Tensor tensor;
  try {
    tensor = torch::empty(entry.shape, scalar_type_of(entry.dtype));
  } catch (const c10::Error&) {
    throw StorageError(fmt::format("{}: tensor {}: not enough memory for {} bytes", file.path(),
                                   printable(entry.name), entry.end - entry.begin));
  }
  file.read(data_start + entry.begin, tensor.data_ptr(), entry.end - entry.begin);
  if (tensor.scalar_type() == torch::kBool) {
    check_booleans(tensor, entry.name, file.path());
  }
  return tensor;
}

}  // namespace

void write_safetensors(const std::string& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  SafetensorsHeader header;
  header.metadata = metadata;
  for (const auto& [name, tensor] : tensors) {
    header.entries.push_back({name, dtype_of(name, tensor, path), tensor.sizes().vec()});
  }
  const std::vector<size_t> order = storage_order(tensors);
  uint64_t position = 0;
  for (const size_t index : order) {
    header.entries[index].begin = position;
    position += tensors[index].second.numel() * tensors[index].second.element_size();
    header.entries[index].end = position;
  }
  const std::string text = format_safetensors_header(header, path);
  const uint64_t length = text.size();
  DurableFile file(path);
  file.write(&length, sizeof(length));
  file.write(text.data(), text.size());
  for (const size_t index : order) {
    const torch::Tensor plain =
        tensors[index].second.detach().to(torch::kCPU).resolve_neg().contiguous();
    file.write(plain.data_ptr(), plain.nbytes());
  }
  file.commit();
}

SafetensorsFile read_safetensors(const std::string& path) {
  const InputFile file(path);
  uint64_t length = 0;
  if (file.size() < sizeof(length)) {
    throw StorageError(
        fmt::format("{}: not a safetensors file: expected at least {} bytes, found {}", path,
                    sizeof(length), file.size()));
  }
  file.read(0, &length, sizeof(length));
  const uint64_t rest = file.size() - sizeof(length);
  if (length > rest || length > kMaxSafetensorsHeader) {
    throw StorageError(
        fmt::format("{}: not a safetensors file, or truncated: it announces a header of {} bytes, "
                    "expected at most {}",
                    path, length, std::min(rest, kMaxSafetensorsHeader)));
  }
  std::string text(length, '\0');
  file.read(sizeof(length), text.data(), length);
  SafetensorsHeader header = parse_safetensors_header(text, rest - length, path);
  SafetensorsFile result;
  result.metadata = std::move(header.metadata);
  for (const SafetensorsEntry& entry : header.entries) {
    result.tensors.emplace_back(entry.name, read_tensor(file, sizeof(length) + length, entry));
  }
  return result;
}

}  // namespace unbraid
