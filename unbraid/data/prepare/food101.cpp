#include <regex>
#include <set>

#include <fmt/format.h>

#include "unbraid/core/error.h"
#include "unbraid/data/csv.h"
#include "unbraid/data/prepare/layouts.h"
#include "unbraid/media/file.h"

namespace unbraid {
namespace {

// What the reference code takes out of a title: "RT" of a repeated post, links, the sign #.
std::string cleaned(const std::string& title) {
  static const std::regex kNoise(R"(^RT\s+|https?://\S+|#)");
  static const std::regex kBlanks(R"(\s+)");
  const std::string kept = std::regex_replace(std::regex_replace(title, kNoise, ""), kBlanks, " ");
  const size_t first = kept.find_first_not_of(' ');
  return first == std::string::npos ? ""
                                    : kept.substr(first, kept.find_last_not_of(' ') + 1 - first);
}

}  // namespace

Prepared prepare_food101(const PrepareOptions& options) {
  require_layout(options, "Food-101",
                 {"images", "texts/train_titles.csv", "texts/test_titles.csv"});
  Prepared prepared{{"image", "text"}, {}, {}, "train_titles.csv and test_titles.csv", {}};
  prepared.texts = {"text"};
  std::set<std::string> listed;
  for (const Split split : {Split::kTrain, Split::kTest}) {
    const std::filesystem::path images = options.raw / "images" / name_of(split);
    std::map<std::string, Clips> by_class;
    for (const std::string& label : folders_in(images)) {
      by_class[label] = clips_in(images / label, {".jpg", ".jpeg", ".png", ".webp"});
    }
    const std::string list =
        (options.raw / "texts" / fmt::format("{}_titles.csv", name_of(split))).string();
    CsvReader csv(read_file(list, kMaxListBytes), list);
    std::vector<std::string> fields;
    while (csv.next(fields)) {
      if (fields.size() != 3) {
        throw csv.error(csv.line(),
                        fmt::format("expected image,title,class, found {} fields", fields.size()));
      }
      const std::string id = std::filesystem::path(fields[0]).stem().string();
      const std::string& label = fields[2];
      const std::string title = cleaned(fields[1]);
      Clips& clips = by_class[label];
      const auto image = clips.find(id);
      const bool header = csv.line() == 1 && image == clips.end() && label == "label";
      if (header) {
        continue;
      }
      if (!listed.insert(id).second) {
        prepared.left_out["listed twice"].push_back(id);
      } else if (image == clips.end()) {
        prepared.left_out["without an image"].push_back(id);
      } else if (title.empty()) {
        prepared.left_out["without a title"].push_back(id);
      } else {
        prepared.samples.push_back({id, split, label, {image->second.string(), title}});
      }
      if (image != clips.end()) {
        clips.erase(image);
      }
    }
    for (const auto& [label, clips] : by_class) {
      for (const auto& [id, path] : clips) {
        prepared.left_out["in no list"].push_back(fmt::format("{}/{}", label, id));
      }
    }
  }
  prepared.classes = sorted_labels(prepared);
  return prepared;
}

}  // namespace unbraid
