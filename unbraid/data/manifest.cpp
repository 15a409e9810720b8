#include "unbraid/data/manifest.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include "unbraid/core/error.h"
#include "unbraid/core/options.h"
#include "unbraid/data/csv.h"
#include "unbraid/media/file.h"

namespace unbraid {
namespace {

constexpr int64_t kMaxManifestBytes = int64_t{1} << 30;
constexpr std::array<std::pair<std::string_view, Split>, 3> kSplits = {
    {{"train", Split::kTrain}, {"val", Split::kVal}, {"test", Split::kTest}}};

std::optional<Split> find_split(std::string_view name) {
  for (const auto& [known, split] : kSplits) {
    if (name == known) {
      return split;
    }
  }
  return std::nullopt;
}

// A field as a message may show it: one line, not too long.
std::string shown(const std::string& field) {
  constexpr size_t kLongest = 80;
  std::string text = field.size() > kLongest ? field.substr(0, kLongest) + "…" : field;
  std::replace_if(text.begin(), text.end(), is_control, '?');
  return "'" + text + "'";
}

/// The place of every column that is read.
struct Columns {
  size_t id = 0;
  std::optional<size_t> split;
  std::optional<size_t> label;
  std::vector<size_t> modalities;
};

Columns find_columns(const CsvReader& csv, const std::vector<std::string>& header,
                     const std::vector<std::string>& modalities, bool labelled) {
  for (auto name = header.begin(); name != header.end(); ++name) {
    if (std::find(header.begin(), name, *name) != name) {
      throw csv.error(csv.line(), fmt::format("the column {} is there twice", shown(*name)));
    }
  }
  const auto place_of = [&](const std::string& name) -> size_t {
    const auto found = std::find(header.begin(), header.end(), name);
    if (found == header.end()) {
      const std::string close = nearest(name, header);
      throw csv.error(csv.line(),
                      fmt::format("expected a column '{}'{}; the header has {}", name,
                                  close.empty() ? "" : fmt::format(" (is it {}?)", shown(close)),
                                  shown(fmt::format("{}", fmt::join(header, ",")))));
    }
    return found - header.begin();
  };
  Columns columns{place_of("id"), {}, {}, {}};
  if (labelled) {
    columns.split = place_of("split");
    columns.label = place_of("label");
  }
  for (const std::string& modality : modalities) {
    columns.modalities.push_back(place_of(modality));
  }
  return columns;
}

ManifestRow row_of(const CsvReader& csv, const Columns& columns,
                   const std::vector<std::string>& fields) {
  const auto error = [&](const std::string& what) { return csv.error(csv.line(), what); };
  ManifestRow row;
  row.line = csv.line();
  row.id = fields[columns.id];
  if (row.id.empty() || std::any_of(row.id.begin(), row.id.end(), is_control)) {
    throw error(fmt::format("expected an id in printable characters, found {}", shown(row.id)));
  }
  row.split = Split::kTest;
  if (columns.split) {
    const std::optional<Split> split = find_split(fields[*columns.split]);
    if (!split) {
      throw error(fmt::format("expected the split train, val or test, found {}",
                              shown(fields[*columns.split])));
    }
    row.split = *split;
  }
  if (columns.label) {
    row.label = fields[*columns.label];
    if (row.label.empty()) {
      throw error("expected a label, found an empty field");
    }
  }
  for (const size_t column : columns.modalities) {
    row.cells.push_back(fields[column]);
  }
  return row;
}

Manifest parse_rows(std::string content, const std::string& path,
                    const std::vector<std::string>& modalities, bool labelled) {
  CsvReader csv(std::move(content), path);
  std::vector<std::string> header;
  if (!csv.next(header)) {
    throw csv.error(1, fmt::format("expected a header id,{}<modality>…, found nothing",
                                   labelled ? "split,label," : ""));
  }
  const Columns columns = find_columns(csv, header, modalities, labelled);
  Manifest manifest{path, {}};
  std::unordered_map<std::string, size_t> line_of;
  std::vector<std::string> fields;
  while (csv.next(fields)) {
    if (fields.size() != header.size()) {
      throw csv.error(csv.line(), fmt::format("expected {} fields as in the header, found {}",
                                              header.size(), fields.size()));
    }
    manifest.rows.push_back(row_of(csv, columns, fields));
    const ManifestRow& row = manifest.rows.back();
    const auto [first, is_new] = line_of.emplace(row.id, row.line);
    if (!is_new) {
      throw csv.error(row.line,
                      fmt::format("the id {} is already on line {}", shown(row.id), first->second));
    }
  }
  if (manifest.rows.empty()) {
    throw csv.error(csv.line(), "expected samples after the header, found none");
  }
  return manifest;
}

}  // namespace

std::string_view name_of(Split split) { return kSplits[static_cast<size_t>(split)].first; }

Split split_named(std::string_view name) {
  const std::optional<Split> split = find_split(name);
  if (!split) {
    throw Error(ExitCode::kUsage,
                fmt::format("expected the split train, val or test, got '{}'", name));
  }
  return *split;
}

Manifest Manifest::read(const std::string& path, const std::vector<std::string>& modalities) {
  return parse(read_file(path, kMaxManifestBytes), path, modalities);
}

Manifest Manifest::parse(std::string content, const std::string& path,
                         const std::vector<std::string>& modalities) {
  const uint64_t hash = XXH3_64bits(content.data(), content.size());
  Manifest manifest = parse_rows(std::move(content), path, modalities, true);
  manifest.hash = fmt::format("{:016x}", hash);
  return manifest;
}

Manifest Manifest::read_unlabelled(const std::string& path,
                                   const std::vector<std::string>& modalities) {
  return parse_rows(read_file(path, kMaxManifestBytes), path, modalities, false);
}

}  // namespace unbraid
