#include <array>
#include <cmath>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/error.h"
#include "unbraid/core/pickle.h"
#include "unbraid/data/prepare/layouts.h"
#include "unbraid/media/file.h"
#include "unbraid/media/mapping.h"
#include "unbraid/media/numpy_pickle.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

constexpr std::array kModalities = {"audio", "vision", "text"};
constexpr std::array<std::pair<const char*, Split>, 3> kParts = {
    {{"train", Split::kTrain}, {"valid", Split::kVal}, {"test", Split::kTest}}};

/// A pickle in the memory of its file.
struct PickleFile {
  explicit PickleFile(const std::string& path)
      : file(path), mapping(file.descriptor(), file.size()), pickle(content(), path) {}

  [[nodiscard]] std::string_view content() const {
    if (mapping.data() == nullptr) {
      throw file.error("cannot be mapped into memory");
    }
    return {mapping.data(), static_cast<size_t>(mapping.size())};
  }

  File file;
  Mapping mapping;
  Pickle pickle;
};

/// `raw`, or the one of the files `names` that it holds.
std::string find_file(const fs::path& raw, const std::array<const char*, 2>& names) {
  std::error_code ignored;
  if (!fs::is_directory(raw, ignored)) {
    return raw.string();
  }
  std::vector<std::string> found;
  for (const char* name : names) {
    if (fs::exists(raw / name, ignored)) {
      found.push_back((raw / name).string());
    }
  }
  if (found.size() != 1) {
    throw DataError(fmt::format("{}: expected one of {} in this folder, found {}", raw.string(),
                                fmt::join(names, " and "),
                                found.empty() ? "none" : "both; name the one that you want"));
  }
  return found.front();
}

const PickleValue& member(const Pickle& pickle, const PickleValue& dict, const char* key,
                          const std::string& where) {
  const PickleValue* value = dict.find(key);
  if (value == nullptr) {
    throw DataError(fmt::format("{}: expected the key {} in {}, found {}", pickle.source(), key,
                                where, dict.description()));
  }
  return *value;
}

PickledArray numbers(const Pickle& pickle, const PickleValue& part, const char* key,
                     const char* part_name) {
  PickledArray array(pickle, member(pickle, part, key, part_name),
                     fmt::format("{} of {}", key, part_name));
  if (!array.is_numeric()) {
    throw array.error("numbers", "another type");
  }
  return array;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

using Parts = std::shared_ptr<const std::vector<PickledArray>>;

/// The features of one modality by split, all of the same steps and features.
Parts features_of(const Pickle& pickle, const char* modality) {
  auto parts = std::make_shared<std::vector<PickledArray>>();
  for (const auto& [name, split] : kParts) {
    const PickleValue& part = member(pickle, pickle.root(), name, "the file");
    const PickledArray& array = parts->emplace_back(numbers(pickle, part, modality, name));
    const std::vector<int64_t>& shape = array.shape();
    if (shape.size() != 3 || shape[1] == 0 || shape[2] == 0) {
      throw array.error("samples of steps of features, [N, T, D]", shape_text(shape));
    }
    const std::vector<int64_t>& first = parts->front().shape();
    if (shape[1] != first[1] || shape[2] != first[2]) {
      throw array.error(fmt::format("[N, {}, {}] as in train", first[1], first[2]),
                        shape_text(shape));
    }
  }
  return parts;
}

/// The splits of a modality one after another.
PreparedTable table_of(const std::shared_ptr<const PickleFile>& source, const char* modality,
                       const Parts& parts) {
  std::vector<int64_t> shape = parts->front().shape();
  shape[0] = 0;
  for (const PickledArray& part : *parts) {
    shape[0] += part.shape()[0];
  }
  return {modality, shape, [source, parts](int64_t first, std::span<float> values) {
            auto part = parts->begin();
            for (; first >= part->size(); ++part) {
              first -= part->size();
            }
            part->read(first, values);
          }};
}

/// One id a sample: a text, or the texts of its row together. Empty when there are none.
std::vector<std::string> ids_of(const Pickle& pickle, const PickleValue& part,
                                const char* part_name, int64_t count) {
  const PickleValue* value = part.find("id");
  if (value == nullptr) {
    return {};
  }
  const PickledArray array(pickle, *value, fmt::format("id of {}", part_name));
  if (array.is_numeric()) {
    return {};
  }
  if (array.shape().empty() || array.shape()[0] != count || array.shape().size() > 2) {
    throw array.error(fmt::format("{} ids", count), shape_text(array.shape()));
  }
  std::vector<std::string> ids(static_cast<size_t>(count));
  for (int64_t i = 0; i < array.size(); ++i) {
    std::string& id = ids[static_cast<size_t>(i / (array.size() / count))];
    id = id.empty() ? array.text(i) : fmt::format("{}_{}", id, array.text(i));
  }
  return ids;
}

Prepared prepare_sentiment(const PrepareOptions& options, const std::array<const char*, 2>& names) {
  const std::string path = find_file(options.raw, names);
  const auto source = std::make_shared<const PickleFile>(path);
  const Pickle& pickle = source->pickle;
  Prepared prepared{{kModalities.begin(), kModalities.end()},
                    options.scores ? std::vector<std::string>{}
                                   : std::vector<std::string>{"negative", "positive"},
                    {},
                    fmt::format("those of {}", path),
                    {}};
  std::vector<Parts> features;
  for (const char* modality : kModalities) {
    features.push_back(features_of(pickle, modality));
    prepared.tables.push_back(table_of(source, modality, features.back()));
  }
  std::set<std::string> known;
  bool has_ids = true;
  std::vector<std::string> made;
  for (size_t p = 0; p < kParts.size(); ++p) {
    const auto& [name, split] = kParts[p];
    const PickleValue& part = member(pickle, pickle.root(), name, "the file");
    const PickledArray labels = numbers(pickle, part, "labels", name);
    for (const Parts& parts : features) {
      const PickledArray& array = (*parts)[p];
      if (array.shape()[0] != labels.size()) {
        throw array.error(fmt::format("{} samples, one for each of the labels", labels.size()),
                          shape_text(array.shape()));
      }
    }
    std::vector<float> scores(static_cast<size_t>(labels.size()));
    labels.read(0, scores);
    std::vector<std::string> ids = ids_of(pickle, part, name, labels.size());
    ids.resize(scores.size());
    for (size_t i = 0; i < scores.size(); ++i) {
      if (!std::isfinite(scores[i])) {
        throw labels.error("scores", fmt::format("{} as element {}", scores[i], i));
      }
      has_ids = has_ids && !ids[i].empty() && known.insert(ids[i]).second;
      made.push_back(fmt::format("{}_{}", name, i));
      const std::string row = std::to_string(prepared.samples.size());
      const std::string label = options.scores  ? fmt::format("{}", scores[i])
                                : scores[i] < 0 ? "negative"
                                                : "positive";
      prepared.samples.push_back(
          {std::move(ids[i]), split, label, std::vector<std::string>(kModalities.size(), row)});
    }
  }
  if (!has_ids) {
    prepared.how_split += "; ids made of split and number, as the file's are missing or repeat";
    for (size_t i = 0; i < made.size(); ++i) {
      prepared.samples[i].id = std::move(made[i]);
    }
  }
  return prepared;
}

}  // namespace

Prepared prepare_mosei(const PrepareOptions& options) {
  return prepare_sentiment(options, {"mosei_senti_data_noalign.pkl", "mosei_senti_data.pkl"});
}

Prepared prepare_mosi(const PrepareOptions& options) {
  return prepare_sentiment(options, {"mosi_data_noalign.pkl", "mosi_data.pkl"});
}

}  // namespace unbraid
