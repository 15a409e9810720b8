#include "unbraid/training/pickled_tensors.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <unordered_set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/safetensors_header.h"

namespace unbraid {
namespace {

using Kind = PickleValue::Kind;
using Entries = std::vector<std::pair<std::string, const PickleValue*>>;

constexpr size_t kMostDimensions = 32;

const std::array<std::pair<std::string_view, torch::ScalarType>, 10> kStorageTypes = {{
    {"torch.FloatStorage", torch::kFloat},
    {"torch.DoubleStorage", torch::kDouble},
    {"torch.HalfStorage", torch::kHalf},
    {"torch.BFloat16Storage", torch::kBFloat16},
    {"torch.LongStorage", torch::kLong},
    {"torch.IntStorage", torch::kInt},
    {"torch.ShortStorage", torch::kShort},
    {"torch.CharStorage", torch::kChar},
    {"torch.ByteStorage", torch::kByte},
    {"torch.BoolStorage", torch::kBool},
}};

bool is_text(const PickleValue& value) { return value.is(Kind::kString) || value.is(Kind::kBytes); }

bool is_call_of(const PickleValue& value, std::initializer_list<std::string_view> names) {
  return value.is(Kind::kCall) &&
         std::find(names.begin(), names.end(), value.global_name()) != names.end();
}

const std::vector<const PickleValue*>& arguments_of(const PickleValue& call) {
  return call.items[1]->items;
}

/// `value` without the type that LibTorch writes around containers.
const PickleValue& untagged(const PickleValue& value) {
  const PickleValue* found = &value;
  while (is_call_of(*found, {"torch.jit._pickle.restore_type_tag"}) &&
         !arguments_of(*found).empty()) {
    found = arguments_of(*found)[0];
  }
  return *found;
}

bool is_dict(const PickleValue& value) {
  return value.is(Kind::kDict) || is_call_of(value, {"collections.OrderedDict"});
}

/// Keys and values in order, the last of equal keys counting.
Entries entries_of(const Pickle& pickle, const PickleValue& dict) {
  std::vector<const PickleValue*> flat(dict.items.begin() + (dict.is(Kind::kCall) ? 3 : 0),
                                       dict.items.end());
  if (dict.is(Kind::kCall) && !arguments_of(dict).empty()) {  // Python 2: a list of pairs
    for (const PickleValue* pair : arguments_of(dict)[0]->items) {
      if (pair == nullptr || pair->items.size() != 2) {
        throw pickle.error(dict, "an OrderedDict of pairs");
      }
      flat.insert(flat.end(), pair->items.begin(), pair->items.end());
    }
  }
  Entries entries;
  std::map<std::string_view, size_t> places;
  for (size_t i = 0; i + 1 < flat.size(); i += 2) {
    if (flat[i] == nullptr || flat[i + 1] == nullptr || !is_text(*flat[i])) {
      throw pickle.error(dict, "a dict of tensors by name");
    }
    const auto [place, is_new] = places.try_emplace(flat[i]->text, entries.size());
    if (is_new) {
      entries.emplace_back(std::string(flat[i]->text), flat[i + 1]);
    } else {
      entries[place->second].second = flat[i + 1];
    }
  }
  return entries;
}

const PickleValue& find_state_dict(const Pickle& pickle) {
  const PickleValue* dict = &untagged(pickle.root());
  if (!is_dict(*dict)) {
    throw pickle.error(*dict, "a state dict (torch.save of model.state_dict())");
  }
  for (bool nested = true; nested;) {
    nested = false;
    for (const char* key : {"state_dict", "model_state_dict", "model"}) {
      const PickleValue* held = dict->find(key);
      if (!nested && held != nullptr && is_dict(untagged(*held))) {
        dict = &untagged(*held);
        nested = true;
      }
    }
  }
  return *dict;
}

PickledStorage storage_of(const Pickle& pickle, const PickleValue& value) {
  if (!value.is(Kind::kPersistent) || !value.items[0]->is(Kind::kTuple)) {
    throw pickle.error(value, "a storage");
  }
  const auto& id = value.items[0]->items;
  const bool is_storage = id.size() >= 5 && is_text(*id[0]) && id[0]->text == "storage" &&
                          is_text(*id[2]) && id[4]->is(Kind::kInt) && id[4]->integer >= 0;
  if (!is_storage || (id.size() > 5 && !id[5]->is(Kind::kNone))) {
    throw pickle.error(value, "a storage that is no part of another");
  }
  const auto* const type =
      std::find_if(kStorageTypes.begin(), kStorageTypes.end(),
                   [&](const auto& known) { return known.first == id[1]->global_name(); });
  if (type == kStorageTypes.end()) {
    throw pickle.error(*id[1], "a storage of real numbers, integers or truth values");
  }
  return {std::string(id[2]->text), type->second, id[4]->integer};
}

/// The tensor that a parameter holds, or null for what is none.
const PickleValue* held_by_parameter(const PickleValue& value) {
  if (!is_call_of(value,
                  {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
                   "torch.nn.parameter.Parameter"})) {
    return nullptr;
  }
  if (!arguments_of(value).empty()) {
    return arguments_of(value)[0];
  }
  const PickleValue* state = value.items[2];  // as the first versions of PyTorch wrote it
  return state != nullptr && state->is(Kind::kTuple) && !state->items.empty() ? state->items[0]
                                                                              : nullptr;
}

/// How a tensor lies in its storage, in elements.
struct TensorLayout {
  int64_t offset = 0;
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;

  /// The number of elements of a storage that it needs; nothing when that is beyond 2^63.
  [[nodiscard]] std::optional<int64_t> extent() const {
    int64_t last = offset;
    int64_t elements = 1;  // of what PyTorch would lay out for these sizes
    bool overflows = false;
    for (size_t i = 0; i < sizes.size(); ++i) {
      int64_t reach = 0;
      overflows =
          __builtin_mul_overflow(elements, std::max<int64_t>(sizes[i], 1), &elements) || overflows;
      overflows = __builtin_mul_overflow(std::max<int64_t>(sizes[i], 1) - 1, strides[i], &reach) ||
                  __builtin_add_overflow(last, reach, &last) || overflows;
    }
    const bool is_empty = std::find(sizes.begin(), sizes.end(), 0) != sizes.end();
    overflows = __builtin_add_overflow(last, is_empty ? 0 : 1, &last) || overflows;
    return overflows ? std::nullopt : std::optional(is_empty ? offset : last);
  }
};

class TensorReader {
 public:
  TensorReader(const Pickle& pickle, const ReadStorage& read) : pickle_(pickle), read_(read) {}

  torch::Tensor read(const PickleValue& value) {
    const PickleValue* found = &value;
    for (const PickleValue* held = found; held != nullptr; held = held_by_parameter(*found)) {
      found = held;
    }
    // The later ones hold whether a gradient is wanted, hooks and metadata.
    constexpr size_t kArguments = 4;
    if (!is_call_of(*found, {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"}) ||
        arguments_of(*found).size() < kArguments) {
      throw pickle_.error(*found, "a tensor");
    }
    const auto& arguments = arguments_of(*found);
    const PickledStorage storage = storage_of(pickle_, *arguments[0]);
    if (!arguments[1]->is(Kind::kInt) || arguments[1]->integer < 0) {
      throw pickle_.error(*arguments[1], "a place in a storage");
    }
    const TensorLayout layout{arguments[1]->integer, numbers(*arguments[2]),
                              numbers(*arguments[3])};
    if (layout.sizes.size() != layout.strides.size()) {
      throw pickle_.error(*arguments[3],
                          fmt::format("{} strides, one for each size", layout.sizes.size()));
    }
    const std::optional<int64_t> extent = layout.extent();
    if (!extent || *extent > storage.size) {
      throw pickle_.error(
          *found, fmt::format("a tensor within the {} values of storage {} (sizes [{}], strides "
                              "[{}], from {})",
                              storage.size, printable(storage.key), fmt::join(layout.sizes, ", "),
                              fmt::join(layout.strides, ", "), layout.offset));
    }
    return fetch(storage, *arguments[0]).as_strided(layout.sizes, layout.strides, layout.offset);
  }

 private:
  /// A tuple of at most kMostDimensions numbers of at least 0, or torch.Size of one.
  std::vector<int64_t> numbers(const PickleValue& value) {
    const bool is_size = is_call_of(value, {"torch.Size"}) && arguments_of(value).size() == 1;
    const PickleValue& tuple = is_size ? *arguments_of(value)[0] : value;
    const bool fits = (tuple.is(Kind::kTuple) || tuple.is(Kind::kList)) &&
                      tuple.items.size() <= kMostDimensions &&
                      std::all_of(tuple.items.begin(), tuple.items.end(), [](const auto* item) {
                        return item->is(Kind::kInt) && item->integer >= 0;
                      });
    if (!fits) {
      throw pickle_.error(value,
                          fmt::format("up to {} sizes or strides of at least 0", kMostDimensions));
    }
    std::vector<int64_t> read;
    for (const PickleValue* item : tuple.items) {
      read.push_back(item->integer);
    }
    return read;
  }

  torch::Tensor fetch(const PickledStorage& storage, const PickleValue& place) {
    torch::Tensor& known = storages_[storage.key];
    if (!known.defined()) {
      known = read_(storage);
    }
    if (known.scalar_type() != storage.type || known.numel() != storage.size) {
      throw pickle_.error(place, fmt::format("one type and size of storage {}, not another beside "
                                             "{} values of {}",
                                             printable(storage.key), known.numel(),
                                             c10::toString(known.scalar_type())));
    }
    return known;
  }

  const Pickle& pickle_;
  const ReadStorage& read_;
  std::map<std::string, torch::Tensor> storages_;
};

/// Leaves out `prefix` where every name has it. Whether it did.
bool drop_prefix(NamedTensors& tensors, std::string_view prefix) {
  const bool all =
      !tensors.empty() && std::all_of(tensors.begin(), tensors.end(), [prefix](const auto& entry) {
        return entry.first.starts_with(prefix);
      });
  for (auto& [name, tensor] : tensors) {
    name.erase(0, all ? prefix.size() : 0);
  }
  return all;
}

}  // namespace

uint64_t PickledStorage::bytes() const {
  uint64_t bytes = 0;
  return __builtin_mul_overflow(static_cast<uint64_t>(size), c10::elementSize(type), &bytes)
             ? std::numeric_limits<uint64_t>::max()
             : bytes;
}

NamedTensors read_pickled_tensors(const Pickle& pickle, const ReadStorage& read) {
  TensorReader reader(pickle, read);
  NamedTensors tensors;
  for (const auto& [name, value] : entries_of(pickle, find_state_dict(pickle))) {
    try {
      tensors.emplace_back(name, reader.read(*value));
    } catch (const DataError& error) {
      throw DataError(fmt::format("{} (of {})", error.what(), printable(name)));
    }
  }
  while (drop_prefix(tensors, "module.") || drop_prefix(tensors, "_orig_mod.")) {
  }
  return tensors;
}

std::map<std::string, PickledStorage> pickled_storages(const Pickle& pickle) {
  std::map<std::string, PickledStorage> storages;
  std::unordered_set<const PickleValue*> seen;
  std::vector<const PickleValue*> left = {&pickle.root()};
  while (!left.empty()) {
    const PickleValue* const value = left.back();
    left.pop_back();
    if (value == nullptr || !seen.insert(value).second) {
      continue;
    }
    if (value->is(Kind::kPersistent)) {
      const PickledStorage storage = storage_of(pickle, *value);
      storages.emplace(storage.key, storage);
    }
    left.insert(left.end(), value->items.begin(), value->items.end());
  }
  return storages;
}

}  // namespace unbraid
