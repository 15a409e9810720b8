#include "unbraid/data/prepare/prepare.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/durable_file.h"
#include "unbraid/core/error.h"
#include "unbraid/core/options.h"
#include "unbraid/core/random.h"
#include "unbraid/data/csv.h"
#include "unbraid/data/prepare/class_names.h"
#include "unbraid/data/prepare/layouts.h"
#include "unbraid/media/file.h"
#include "unbraid/media/npy.h"
#include "unbraid/media/tokenizer.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

struct Entry {
  const char* name;
  Prepared (*prepare)(const PrepareOptions&);
  int64_t classes;                               // 0: any
  bool scores = false;                           // its labels may be numbers
  std::span<const std::string_view> names = {};  // of its classes, where they are known
};

constexpr std::array kDataSets = {
    Entry{"cremad", prepare_cremad, 6},
    Entry{"kinetics-sounds", prepare_kinetics_sounds, 31},
    Entry{"vggsound", prepare_vggsound, 309},
    Entry{"ave", prepare_ave, 28, false, kAveClasses},
    Entry{"ucf101", prepare_ucf101, 101, false, kUcf101Classes},
    Entry{"mosei", prepare_mosei, 2, true},
    Entry{"mosi", prepare_mosi, 2, true},
    Entry{"food101", prepare_food101, 101},
    Entry{"folders", prepare_folders, 0},
};

/// One clip a line: what comes before the first comma or blank, without folders and the extension
/// that lists of UCF-101 have.
std::map<std::string, Split> read_lists(const PrepareOptions& options) {
  std::map<std::string, Split> split_of;
  for (const auto& [split, path] : options.split_lists) {
    const std::string content = read_list(path);
    size_t line = 0;
    for (size_t begin = 0; begin < content.size();) {
      const size_t end = std::min(content.find('\n', begin), content.size());
      std::string entry = content.substr(begin, end - begin);
      begin = end + 1;
      ++line;
      entry = entry.substr(0, entry.find_first_of(", \t\r"));
      entry = entry.substr(entry.rfind('/') + 1);
      if (entry.ends_with(".avi") || entry.ends_with(".mp4") || entry.ends_with(".wav")) {
        entry.resize(entry.size() - 4);
      }
      if (entry.empty()) {
        continue;
      }
      const auto [known, is_new] = split_of.emplace(entry, split);
      if (!is_new && known->second != split) {
        throw DataError(fmt::format("{}:{}: the clip {} is in the list of {} too", path.string(),
                                    line, entry, name_of(known->second)));
      }
    }
  }
  return split_of;
}

bool has_split(const Prepared& prepared, Split split) {
  return std::any_of(prepared.samples.begin(), prepared.samples.end(),
                     [split](const PreparedSample& sample) { return sample.split == split; });
}

/// "; without face: 3, such as 1001_DFA_ANG_XX".
std::string left_out_of(const Prepared& prepared) {
  std::string reasons;
  for (const auto& [reason, ids] : prepared.left_out) {
    reasons += fmt::format("; {}: {}, such as {}", reason, ids.size(), ids.front());
  }
  return reasons;
}

void apply_lists(const PrepareOptions& options, Prepared& prepared) {
  auto split_of = read_lists(options);
  std::erase_if(prepared.samples, [&](PreparedSample& sample) {
    const auto listed = split_of.find(sample.id);
    if (listed == split_of.end()) {
      prepared.left_out["in no split list"].push_back(sample.id);
      return true;
    }
    sample.split = listed->second;
    split_of.erase(listed);
    return false;
  });
  for (const auto& [split, path] : options.split_lists) {
    if (!has_split(prepared, split)) {
      throw DataError(fmt::format("{}: expected clips of {}, it lists none that is there whole{}",
                                  path.string(), options.raw.string(), left_out_of(prepared)));
    }
  }
  for (const auto& [id, split] : split_of) {
    prepared.left_out["listed, but not there whole"].push_back(id);
  }
  prepared.how_split = "as the split lists say";
}

/// The groups of the samples of `split`, shuffled by the seed.
std::vector<std::string> shuffled_groups(const PrepareOptions& options, const Prepared& prepared,
                                         std::optional<Split> split) {
  std::set<std::string> names;
  for (const PreparedSample& sample : prepared.samples) {
    if (sample.split == split) {
      names.insert(prepared.group_of(sample.id));
    }
  }
  std::vector<std::string> groups(names.begin(), names.end());
  RandomStream::of(options.seed, 0, "", "split").shuffle(groups);
  return groups;
}

/// Of a number of clips or groups, rounded, but one where there are two or more.
size_t tenth_of(size_t count) { return count < 2 ? 0 : std::max<size_t>(1, (count + 5) / 10); }

/// Gives whole groups of clips (an actor, a video) to a split: a tenth of them to val and to test
/// each.
void split_by_group(const PrepareOptions& options, Prepared& prepared) {
  const std::vector<std::string> groups = shuffled_groups(options, prepared, std::nullopt);
  if (groups.size() < 3) {
    throw DataError(fmt::format("{}: expected clips of at least 3 {}s to split by, found {}{}",
                                options.raw.string(), prepared.group, groups.size(),
                                left_out_of(prepared)));
  }
  const size_t tenth = tenth_of(groups.size());
  std::map<std::string, Split> split_of;
  for (size_t i = 0; i < groups.size(); ++i) {
    split_of[groups[i]] = i < tenth ? Split::kTest : i < 2 * tenth ? Split::kVal : Split::kTrain;
  }
  for (PreparedSample& sample : prepared.samples) {
    sample.split = split_of.at(prepared.group_of(sample.id));
  }
  prepared.how_split = fmt::format("by {}, so that none is in two of them, by seed {}",
                                   prepared.group, options.seed);
}

/// One in ten of each class, or of all where labels are scores.
void make_val_of_clips(const PrepareOptions& options, Prepared& prepared) {
  std::map<std::string, std::vector<PreparedSample*>> by_class;
  for (PreparedSample& sample : prepared.samples) {
    if (sample.split == Split::kTrain) {
      by_class[options.scores ? "" : sample.label].push_back(&sample);
    }
  }
  for (auto& [label, samples] : by_class) {
    RandomStream::of(options.seed, 0, label, "val").shuffle(samples);
    samples.resize(tenth_of(samples.size()));
    for (PreparedSample* sample : samples) {
      sample->split = Split::kVal;
    }
  }
  prepared.how_split += fmt::format("; val: one in ten of train{}, by seed {}",
                                    options.scores ? "" : ", of each class", options.seed);
}

/// A part of train becomes val, drawn by the seed: whole groups where the data set has them, so
/// that none is trained on and chosen by.
void make_val(const PrepareOptions& options, Prepared& prepared) {
  if (has_split(prepared, Split::kVal)) {
    return;
  }
  std::vector<std::string> groups;
  if (prepared.group_of) {
    groups = shuffled_groups(options, prepared, Split::kTrain);
  }
  if (groups.size() < 2) {
    make_val_of_clips(options, prepared);
    return;
  }
  groups.resize(tenth_of(groups.size()));
  for (PreparedSample& sample : prepared.samples) {
    const bool chosen =
        sample.split == Split::kTrain &&
        std::find(groups.begin(), groups.end(), prepared.group_of(sample.id)) != groups.end();
    sample.split = chosen ? Split::kVal : sample.split;
  }
  prepared.how_split += fmt::format("; val: one in ten of the {}s of train, by seed {}",
                                    prepared.group, options.seed);
}

void check_splits(const PrepareOptions& options, const Prepared& prepared) {
  for (const Split split : {Split::kTrain, Split::kVal}) {
    if (!has_split(prepared, split)) {
      throw DataError(fmt::format("{}: expected clips of the split {}, found none ({}{})",
                                  options.raw.string(), name_of(split), prepared.how_split,
                                  left_out_of(prepared)));
    }
  }
}

/// Which classes are missing and which are too many, where their names are known; else all.
std::string difference_of_classes(const Entry& entry, const std::vector<std::string>& found) {
  if (entry.names.empty()) {
    return fmt::format("{}", fmt::join(found, ", "));
  }
  std::vector<std::string_view> missing;
  std::copy_if(entry.names.begin(), entry.names.end(), std::back_inserter(missing),
               [&](std::string_view name) {
                 return std::find(found.begin(), found.end(), name) == found.end();
               });
  std::vector<std::string> more;
  std::copy_if(found.begin(), found.end(), std::back_inserter(more), [&](const std::string& name) {
    return std::find(entry.names.begin(), entry.names.end(), name) == entry.names.end();
  });
  return fmt::format("{}{}{}{}{}", missing.empty() ? "" : "without ", fmt::join(missing, ", "),
                     missing.empty() || more.empty() ? "" : "; ",
                     more.empty() ? "" : "with ones that are not its own: ", fmt::join(more, ", "));
}

void check_classes(const Entry& entry, const PrepareOptions& options, const Prepared& prepared) {
  std::set<std::string> found;
  for (const PreparedSample& sample : prepared.samples) {
    found.insert(sample.label);
  }
  std::vector<std::string> without;
  std::copy_if(prepared.classes.begin(), prepared.classes.end(), std::back_inserter(without),
               [&](const std::string& name) { return !found.contains(name); });
  const int64_t wanted = options.classes.value_or(entry.classes);
  if (wanted != 0 && static_cast<int64_t>(prepared.classes.size()) != wanted) {
    throw DataError(fmt::format(
        "{}: expected {} classes of {}, found {}: {}; --classes {} takes them as they are",
        options.raw.string(), wanted, entry.name, prepared.classes.size(),
        difference_of_classes(entry, prepared.classes), prepared.classes.size()));
  }
  if (prepared.classes.size() < 2) {
    throw DataError(fmt::format("{}: expected at least 2 classes, found {}", options.raw.string(),
                                prepared.classes.size()));
  }
  check_splits(options, prepared);
  if (!without.empty()) {
    throw DataError(fmt::format("{}: expected clips of every class, found none of {}",
                                options.raw.string(), fmt::join(without, ", ")));
  }
}

/// A manifest is UTF-8, the name of a file need not be.
void check_text(const std::string& what, const std::string& text) {
  try {
    check_utf8(text);
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}", what, error.what()));
  }
}

std::string relative_to(const std::string& path, const fs::path& folder) {
  const fs::path relative = fs::path(path).lexically_relative(folder);
  return relative.empty() || *relative.begin() == ".." ? path : relative.string();
}

}  // namespace

std::vector<std::string> known_data_sets() {
  std::vector<std::string> names;
  names.reserve(kDataSets.size());
  for (const Entry& entry : kDataSets) {
    names.emplace_back(entry.name);
  }
  return names;
}

Prepared prepare(const std::string& data_set, const PrepareOptions& options) {
  const auto entry = std::find_if(kDataSets.begin(), kDataSets.end(),
                                  [&](const Entry& known) { return known.name == data_set; });
  if (entry == kDataSets.end()) {
    const std::string close = nearest(data_set, known_data_sets());
    throw Error(
        ExitCode::kUsage,
        fmt::format("expected one of {}, got \"{}\"{}", fmt::join(known_data_sets(), ", "),
                    data_set, close.empty() ? "" : fmt::format("; did you mean {}?", close)));
  }
  if (options.scores && !entry->scores) {
    throw Error(ExitCode::kUsage, fmt::format("{}: has classes alone, no scores", data_set));
  }
  PrepareOptions absolute = options;
  absolute.raw = fs::absolute(options.raw).lexically_normal();
  Prepared prepared = entry->prepare(absolute);
  if (prepared.samples.empty()) {
    throw DataError(fmt::format("{}: expected whole clips of {}, found none{}",
                                options.raw.string(), data_set, left_out_of(prepared)));
  }
  if (!options.split_lists.empty()) {
    apply_lists(options, prepared);
  } else if (prepared.group_of) {
    split_by_group(options, prepared);
  }
  make_val(options, prepared);
  std::sort(
      prepared.samples.begin(), prepared.samples.end(),
      [](const PreparedSample& left, const PreparedSample& right) { return left.id < right.id; });
  if (options.scores) {
    check_splits(options, prepared);
  } else {
    check_classes(*entry, options, prepared);
  }
  return prepared;
}

std::string manifest_of(const Prepared& prepared, const fs::path& folder) {
  const fs::path base = fs::absolute(folder).lexically_normal();
  std::string text = fmt::format("id,split,label,{}\n", fmt::join(prepared.modalities, ","));
  for (const PreparedSample& sample : prepared.samples) {
    if (std::any_of(sample.id.begin(), sample.id.end(), is_control)) {
      throw DataError(
          fmt::format("{}: expected a name in printable characters, of which the id is made",
                      sample.cells.front()));
    }
    text += fmt::format("{},{},{}", csv_field(sample.id), name_of(*sample.split),
                        csv_field(sample.label));
    for (size_t m = 0; m < sample.cells.size(); ++m) {
      const std::string& cell = sample.cells[m];
      const bool is_text = prepared.texts.contains(prepared.modalities[m]);
      check_text(is_text ? fmt::format("{} of {}", prepared.modalities[m], sample.id) : cell, cell);
      text += ',';
      if (is_text) {
        text += csv_field(cell);
        continue;
      }
      const size_t pair = cell.find(kPairSeparator);
      if (pair != std::string::npos && cell.find(kPairSeparator, pair + 1) != std::string::npos) {
        throw DataError(
            fmt::format("{}: expected paths without {}, which is between the two of a pair", cell,
                        kPairSeparator));
      }
      const std::string second =
          pair == std::string::npos
              ? ""
              : fmt::format("{}{}", kPairSeparator, relative_to(cell.substr(pair + 1), base));
      text += csv_field(relative_to(cell.substr(0, pair), base).append(second));
    }
    text += "\n";
  }
  return text;
}

fs::path table_path(const fs::path& manifest, const std::string& modality) {
  return folder_of(manifest) / fmt::format("{}_{}.npy", manifest.stem().string(), modality);
}

int64_t write_table(const PreparedTable& table, const fs::path& path) {
  DurableFile file(path);
  const std::string header = npy_header(table.shape);
  file.write(header.data(), header.size());
  int64_t row_size = 1;
  for (size_t axis = 1; axis < table.shape.size(); ++axis) {
    row_size *= table.shape[axis];
  }
  std::vector<float> row(static_cast<size_t>(row_size));
  int64_t replaced = 0;
  for (int64_t i = 0; i < table.shape.front(); ++i) {
    table.read(i * row_size, row);
    for (float& value : row) {
      if (!std::isfinite(value)) {
        value = 0;
        ++replaced;
      }
    }
    file.write(row.data(), row.size() * sizeof(float));
  }
  file.commit();
  return replaced;
}

std::string report_of(const Prepared& prepared) {
  std::map<std::string, std::array<size_t, 3>> counts;
  std::array<size_t, 3> totals{};
  for (const PreparedSample& sample : prepared.samples) {
    const auto split = static_cast<size_t>(*sample.split);
    ++counts[sample.label][split];
    ++totals[split];
  }
  size_t width = 8;
  for (const std::string& name : prepared.classes) {
    width = std::max(width, name.size() + 2);
  }
  const auto row = [&](const std::string& name, const std::array<size_t, 3>& cells) {
    return fmt::format("{:<{}}{:>8}{:>8}{:>8}\n", name, width, cells[0], cells[1], cells[2]);
  };
  std::string text = fmt::format("splits: {}\n{:<{}}{:>8}{:>8}{:>8}\n", prepared.how_split, "class",
                                 width, "train", "val", "test");
  for (const std::string& name : prepared.classes) {
    text += row(name, counts[name]);
  }
  text += row("all", totals);
  if (totals[static_cast<size_t>(Split::kTest)] == 0) {
    text += "warning: there is no test sample\n";
  }
  for (const std::string& name : prepared.classes) {
    if (counts[name][static_cast<size_t>(Split::kTrain)] == 0) {
      text += fmt::format("warning: the class {} has no training sample\n", name);
    }
  }
  for (const auto& [reason, ids] : prepared.left_out) {
    constexpr size_t kShown = 5;
    const size_t shown = std::min(kShown, ids.size());
    text +=
        fmt::format("left out, {}: {} ({}{})\n", reason, ids.size(),
                    fmt::join(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                    ids.size() > shown ? ", …" : "");
  }
  return text;
}

}  // namespace unbraid
