#include "unbraid/data/prepare/layouts.h"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/error.h"
#include "unbraid/data/csv.h"
#include "unbraid/media/file.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

constexpr std::array kSplits = {Split::kTrain, Split::kVal, Split::kTest};

template <typename Visit>
void each_entry(const fs::path& folder, const Visit& visit) {
  std::error_code failure;
  if (!fs::is_directory(folder, failure)) {
    return;
  }
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    if (!is_hidden(entry->path())) {
      visit(*entry);
    }
  }
  if (failure) {
    throw DataError(fmt::format("{}: cannot be read: {}", folder.string(), failure.message()));
  }
}

/// `text` cut at every `separator`.
std::vector<std::string> parts_of(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (const char character : text) {
    if (character == separator) {
      parts.emplace_back();
    } else {
      parts.back() += character;
    }
  }
  return parts;
}

/// Clips of UCF-101 by the names that its lists have: frames and flow are published with another
/// spelling of one class.
Clips as_listed(const Clips& clips) {
  constexpr std::string_view kOther = "v_HandstandPushups_";
  Clips listed;
  for (const auto& [name, path] : clips) {
    listed.emplace(name.starts_with(kOther)
                       ? fmt::format("v_HandStandPushups_{}", name.substr(kOther.size()))
                       : name,
                   path);
  }
  return listed;
}

/// Whichever of two places has the clips.
Clips either(Clips first, Clips second) {
  return first.empty() ? std::move(second) : std::move(first);
}

}  // namespace

std::string read_list(const fs::path& path) {
  std::string content = read_file(path.string(), kMaxListBytes);
  if (content.starts_with("\xef\xbb\xbf")) {
    content.erase(0, 3);
  }
  return content;
}

Clips clips_in(const fs::path& folder, const std::vector<std::string>& extensions) {
  Clips clips;
  each_entry(folder, [&](const fs::directory_entry& entry) {
    std::error_code ignored;  // a link that leads nowhere
    const bool is_folder = entry.is_directory(ignored);
    const std::string extension = is_folder ? "/" : extension_of(entry.path());
    if (std::find(extensions.begin(), extensions.end(), extension) == extensions.end()) {
      return;
    }
    const std::string name =
        is_folder ? entry.path().filename().string() : entry.path().stem().string();
    const auto [known, is_new] = clips.emplace(name, entry.path());
    if (!is_new) {
      throw DataError(fmt::format("{}: expected one file of the clip {}, found {} too",
                                  entry.path().string(), name, known->second.string()));
    }
  });
  return clips;
}

std::vector<std::string> folders_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& [name, path] : clips_in(folder, {"/"})) {
    names.push_back(name);
  }
  return names;
}

size_t images_in(const fs::path& folder) {
  size_t count = 0;
  each_entry(folder, [&](const fs::directory_entry& entry) {
    count += is_image_name(entry.path()) ? 1 : 0;
  });
  return count;
}

std::vector<std::string> sorted_labels(const Prepared& prepared) {
  std::set<std::string> labels;
  for (const PreparedSample& sample : prepared.samples) {
    labels.insert(sample.label);
  }
  return {labels.begin(), labels.end()};
}

void require_layout(const PrepareOptions& options, const std::string& data_set,
                    const std::vector<std::string>& folders) {
  for (const std::string& folder : folders) {
    std::error_code ignored;
    if (!fs::exists(options.raw / folder, ignored)) {
      throw DataError(fmt::format("{}: expected {} of {} in this folder, it is not there",
                                  options.raw.string(), folder, data_set));
    }
  }
}

void Pairing::add(const std::vector<Clips>& modalities, std::optional<Split> split,
                  const std::function<std::string(const std::string& clip)>& label,
                  const std::string& id_prefix) {
  std::set<std::string> names;
  for (const Clips& clips : modalities) {
    for (const auto& [name, path] : clips) {
      names.insert(name);
    }
  }
  for (const std::string& name : names) {
    PreparedSample sample{id_prefix + name, split, "", {}};
    std::string reason;
    for (size_t m = 0; m < modalities.size() && reason.empty(); ++m) {
      const auto clip = modalities[m].find(name);
      if (clip == modalities[m].end()) {
        reason = fmt::format("without {}", prepared_.modalities[m]);
        break;
      }
      std::error_code ignored;
      const bool is_short = fs::is_directory(clip->second, ignored)
                                ? images_in(clip->second) < min_images
                                : fs::file_size(clip->second, ignored) < min_bytes;
      reason = is_short ? fmt::format("{} too short", prepared_.modalities[m]) : "";
      sample.cells.push_back(clip->second.string());
    }
    if (!reason.empty()) {
      prepared_.left_out[reason].push_back(sample.id);
      continue;
    }
    sample.label = label(name);
    prepared_.samples.push_back(std::move(sample));
  }
}

void Pairing::add_listed(const std::string& clip, const std::vector<const Clips*>& modalities,
                         Split split, const std::string& label) {
  std::vector<Clips> found;
  bool any = false;
  for (const Clips* clips : modalities) {
    const auto place = clips->find(clip);
    any = any || place != clips->end();
    found.push_back(place == clips->end() ? Clips{} : Clips{*place});
  }
  if (any) {
    add(found, split, [&](const std::string& /*clip*/) { return label; });
  } else {
    prepared_.left_out["listed, but not there"].push_back(clip);
  }
}

Prepared prepare_cremad(const PrepareOptions& options) {
  require_layout(options, "CREMA-D", {"AudioWAV"});
  Prepared prepared{{"audio", "face"}, {"NEU", "HAP", "SAD", "FEA", "DIS", "ANG"}, {}, "", {}};
  const Clips faces = either(clips_in(options.raw / "Image-01-FPS", {"/"}),
                             clips_in(options.raw / "VideoFlash", {".flv", ".mp4"}));
  Pairing(prepared).add({clips_in(options.raw / "AudioWAV", {".wav"}), faces}, std::nullopt,
                        [&](const std::string& clip) {
                          const auto parts = parts_of(clip, '_');
                          std::string label = parts.size() == 4 ? parts[2] : "";
                          const auto& known = prepared.classes;
                          if (std::find(known.begin(), known.end(), label) == known.end()) {
                            throw DataError(fmt::format(
                                "{}: expected clips <actor>_<sentence>_<emotion>_<level> with an "
                                "emotion of {}, found {}",
                                options.raw.string(), fmt::join(known, " "), clip));
                          }
                          return label;
                        });
  prepared.group = "actor";
  prepared.group_of = [](const std::string& id) { return id.substr(0, id.find('_')); };
  return prepared;
}

Prepared prepare_kinetics_sounds(const PrepareOptions& options) {
  require_layout(options, "Kinetics-Sounds", {"audio", "visual"});
  Prepared prepared{{"audio", "visual"}, {}, {}, "the folders of the data set", {}};
  Pairing pairing(prepared);
  pairing.min_images = 3;
  for (const auto& [split, sound, images] :
       {std::tuple{Split::kTrain, "audio/train", "visual/train_img/Image-01-FPS"},
        {Split::kTest, "audio/test", "visual/val_img/Image-01-FPS"}}) {
    std::set<std::string> classes;
    for (const char* folder : {sound, images}) {
      for (const std::string& name : folders_in(options.raw / folder)) {
        classes.insert(name);
      }
    }
    for (const std::string& name : classes) {
      pairing.add(
          {clips_in(options.raw / sound / name, {".wav"}),
           clips_in(options.raw / images / name, {"/"})},
          split, [&](const std::string& /*clip*/) { return name; }, name + "/");
    }
  }
  prepared.classes = sorted_labels(prepared);
  return prepared;
}

Prepared prepare_vggsound(const PrepareOptions& options) {
  require_layout(options, "VGGSound", {"vggsound.csv"});
  Prepared prepared{{"audio", "visual"}, {}, {}, "vggsound.csv", {}};
  const fs::path& raw = options.raw;
  Clips sounds;
  Clips images;
  for (const char* part : {"train", "test"}) {
    sounds.merge(clips_in(raw / fmt::format("audio/{0}-audios/{0}-set", part), {".wav"}));
    for (const auto& [name, path] :
         clips_in(raw / fmt::format("video/{}-set-img/Image-01-FPS", part), {"/"})) {
      images.emplace(name.ends_with(".mp4") ? name.substr(0, name.size() - 4) : name, path);
    }
  }
  const Clips videos = clips_in(raw / "video", {".mp4"});
  const std::string list = (raw / "vggsound.csv").string();
  CsvReader csv(read_file(list, kMaxListBytes), list);
  std::vector<std::string> fields;
  std::map<std::string, std::pair<std::string, Split>> rows;
  while (csv.next(fields)) {
    if (fields.size() != 4 || fields[0].empty() || fields[1].empty() || fields[2].empty() ||
        fields[1].find_first_not_of("0123456789.") != std::string::npos ||
        (fields[3] != "train" && fields[3] != "test")) {
      throw csv.error(csv.line(), "expected clip,start in seconds,label,train or test");
    }
    const std::string clip =
        fmt::format("{}_{:0>6}", fields[0], fields[1].substr(0, fields[1].find('.')));
    const Split split = fields[3] == "train" ? Split::kTrain : Split::kTest;
    if (!rows.try_emplace(clip, fields[2], split).second) {
      prepared.left_out["listed twice"].push_back(clip);
    }
  }
  sounds.insert(videos.begin(), videos.end());
  images.insert(videos.begin(), videos.end());
  Pairing pairing(prepared);
  pairing.min_images = 3;
  for (const auto& [clip, row] : rows) {
    pairing.add_listed(clip, {&sounds, &images}, row.second, row.first);
  }
  prepared.classes = sorted_labels(prepared);
  return prepared;
}

Prepared prepare_ave(const PrepareOptions& options) {
  require_layout(options, "AVE", {"trainSet.txt", "valSet.txt", "testSet.txt"});
  Prepared prepared{{"audio", "visual"}, {}, {}, "trainSet.txt, valSet.txt and testSet.txt", {}};
  const fs::path& raw = options.raw;
  const Clips videos = clips_in(raw / "AVE", {".mp4"});
  const Clips sounds = either(clips_in(raw / "Audios", {".wav"}), videos);
  const Clips images = either(clips_in(raw / "Image-01-FPS-SE", {"/"}), videos);
  Pairing pairing(prepared);
  std::map<std::string, Split> seen;
  // Videos with two events are in two of the published lists: none is trained on and tested on.
  for (const Split split : {Split::kTest, Split::kVal, Split::kTrain}) {
    const std::string list = (raw / fmt::format("{}Set.txt", name_of(split))).string();
    size_t line = 0;
    for (const std::string& entry : parts_of(read_list(list), '\n')) {
      ++line;
      if (entry.empty() || entry == "\r") {
        continue;
      }
      const auto fields = parts_of(entry, '&');
      if (fields.size() != 5) {
        throw DataError(fmt::format("{}:{}: expected class&clip&quality&start&end", list, line));
      }
      const std::string& clip = fields[1];
      const auto [known, is_new] = seen.emplace(clip, split);
      if (!is_new) {
        const std::string reason =
            known->second == split
                ? "listed twice"
                : fmt::format("of {}, listed in {} too", name_of(split), name_of(known->second));
        prepared.left_out[reason].push_back(clip);
        continue;
      }
      pairing.add_listed(clip, {&sounds, &images}, split, fields[0]);
    }
  }
  prepared.classes = sorted_labels(prepared);
  return prepared;
}

Prepared prepare_ucf101(const PrepareOptions& options) {
  require_layout(options, "UCF-101", {"tvl1_flow/u", "tvl1_flow/v"});
  Prepared prepared{{"rgb", "flow"}, {}, {}, "", {}};
  Clips clips = as_listed(clips_in(options.raw / "jpegs_256", {"/"}));
  if (clips.empty()) {
    for (const std::string& name : folders_in(options.raw / "UCF-101")) {
      clips.merge(as_listed(clips_in(options.raw / "UCF-101" / name, {".avi"})));
    }
  }
  const Clips v = as_listed(clips_in(options.raw / "tvl1_flow/v", {"/"}));
  Clips flow;
  for (const auto& [name, u] : as_listed(clips_in(options.raw / "tvl1_flow/u", {"/"}))) {
    const auto other = v.find(name);
    if (other == v.end() || images_in(u) != images_in(other->second)) {
      prepared.left_out["u and v of optical flow differ"].push_back(name);
    } else {
      flow.emplace(name, u);
    }
  }
  // v_<class>_g<group>_c<clip>
  const auto group_at = [raw = options.raw.string()](const std::string& clip) {
    const size_t place = clip.rfind("_g");
    if (!clip.starts_with("v_") || place == std::string::npos || place < 2) {
      throw DataError(
          fmt::format("{}: expected clips v_<class>_g<group>_c<clip>, found {}", raw, clip));
    }
    return place;
  };
  Pairing(prepared).add({clips, flow}, std::nullopt, [&](const std::string& clip) {
    return clip.substr(2, group_at(clip) - 2);
  });
  for (PreparedSample& sample : prepared.samples) {
    sample.cells[1] += fmt::format("{}{}", kPairSeparator, v.at(sample.id).string());
  }
  prepared.classes = sorted_labels(prepared);
  prepared.group = "group";
  prepared.group_of = [group_at](const std::string& id) {
    const size_t place = group_at(id);
    return id.substr(place, id.rfind("_c") - place);
  };
  return prepared;
}

Prepared prepare_folders(const PrepareOptions& options) {
  Prepared prepared{folders_in(options.raw), {}, {}, "the folders of the data set", {}};
  if (prepared.modalities.empty()) {
    throw DataError(fmt::format("{}: expected <modality>/<split>/<class>/<clip>, found no folders",
                                options.raw.string()));
  }
  const std::vector<std::string> extensions = {"/",    ".wav",  ".flac", ".ogg",  ".mp3", ".m4a",
                                               ".jpg", ".jpeg", ".png",  ".webp", ".mp4", ".mkv",
                                               ".avi", ".flv",  ".webm", ".npy"};
  std::map<std::string, Split> split_of;
  for (const std::string& modality : prepared.modalities) {
    if (!std::all_of(modality.begin(), modality.end(), [](unsigned char character) {
          return std::isalnum(character) != 0 || character == '_';
        })) {
      throw DataError(fmt::format("{}: expected a modality's name of letters, digits and _",
                                  (options.raw / modality).string()));
    }
    for (const std::string& name : folders_in(options.raw / modality)) {
      if (name != "train" && name != "val" && name != "test") {
        prepared.left_out["folders that are not train, val or test"].push_back(
            fmt::format("{}/{}", modality, name));
      }
    }
  }
  for (const Split split : kSplits) {
    const std::string name(name_of(split));
    std::set<std::string> classes;
    for (const std::string& modality : prepared.modalities) {
      for (const std::string& label : folders_in(options.raw / modality / name)) {
        classes.insert(label);
      }
    }
    for (const std::string& label : classes) {
      std::vector<Clips> clips;
      for (const std::string& modality : prepared.modalities) {
        clips.push_back(clips_in(options.raw / modality / name / label, extensions));
      }
      Pairing pairing(prepared);
      pairing.min_bytes = 1;
      pairing.add(
          clips, split, [&](const std::string& /*clip*/) { return label; }, label + "/");
    }
  }
  for (const PreparedSample& sample : prepared.samples) {
    const auto [known, is_new] = split_of.emplace(sample.id, *sample.split);
    if (!is_new) {
      throw DataError(fmt::format(
          "{}: the clip {} is in {} and in {}; clips of a class need names of their own",
          options.raw.string(), sample.id, name_of(known->second), name_of(*sample.split)));
    }
  }
  prepared.classes = sorted_labels(prepared);
  return prepared;
}

}  // namespace unbraid
