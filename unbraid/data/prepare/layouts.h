#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "unbraid/data/prepare/prepare.h"

namespace unbraid {

// One function a data set: its published layout, from which `prepare` makes the splits it lacks.

/// CREMA-D: `AudioWAV/<clip>.wav` and `Image-01-FPS/<clip>/` or else `VideoFlash/<clip>.flv`; a
/// clip is `<actor>_<sentence>_<emotion>_<level>`. Classes NEU HAP SAD FEA DIS ANG; split by actor.
Prepared prepare_cremad(const PrepareOptions& options);
/// Kinetics-Sounds as the DGL code has it: `audio/{train,test}/<class>/<clip>.wav` and
/// `visual/{train_img,val_img}/Image-01-FPS/<class>/<clip>/`; classes by name.
Prepared prepare_kinetics_sounds(const PrepareOptions& options);
/// VGGSound: `vggsound.csv` (clip, start, label, split), and for each `<clip>_<start, 6 digits>`
/// `video/<split>-set-img/Image-01-FPS/….mp4/` and `audio/<split>-audios/<split>-set/….wav`, or
/// else `video/….mp4` for both. Classes by name.
Prepared prepare_vggsound(const PrepareOptions& options);
/// AVE: `{train,val,test}Set.txt` (class&clip&quality&start&end), and for each clip
/// `Audios/<clip>.wav` and `Image-01-FPS-SE/<clip>/`, or else `AVE/<clip>.mp4` for both. Classes by
/// name.
Prepared prepare_ave(const PrepareOptions& options);
/// UCF-101: `UCF-101/<class>/<clip>.avi` or `jpegs_256/<clip>/`, and `tvl1_flow/{u,v}/<clip>/`.
/// Classes by name; split by the group of videos that a clip was cut from.
Prepared prepare_ucf101(const PrepareOptions& options);
/// UPMC Food-101: `texts/{train,test}_titles.csv` of image,title,class, and
/// `images/{train,test}/<class>/<image>`. Classes by name; titles without "RT", links and #.
Prepared prepare_food101(const PrepareOptions& options);
/// CMU-MOSEI as one pickle, `mosei_senti_data_noalign.pkl` or `mosei_senti_data.pkl` (the file or
/// the folder that holds one of them): train, valid and test with audio, vision and text [N, T, D],
/// labels of N scores and ids. Classes negative (below 0) and positive, or the scores; the arrays
/// become tables.
Prepared prepare_mosei(const PrepareOptions& options);
/// The same for CMU-MOSI, `mosi_data_noalign.pkl` or `mosi_data.pkl`.
Prepared prepare_mosi(const PrepareOptions& options);
/// `<modality>/<split>/<class>/<clip>`, files or folders of images, any modalities and classes.
Prepared prepare_folders(const PrepareOptions& options);

inline constexpr int64_t kMaxListBytes = int64_t{256} << 20;  // of a published list
/// A published list without the byte order mark that it may begin with.
std::string read_list(const std::filesystem::path& path);

/// Files of a folder with one of `extensions` (".wav"), by their name without it; or, for "/", its
/// folders by name. Throws DataError when two have one name; a folder that is not there is empty,
/// and what is hidden (".name") is not there.
using Clips = std::map<std::string, std::filesystem::path>;
Clips clips_in(const std::filesystem::path& folder, const std::vector<std::string>& extensions);
/// The names of the folders in `folder`.
std::vector<std::string> folders_in(const std::filesystem::path& folder);
/// Images directly in `folder`.
size_t images_in(const std::filesystem::path& folder);

/// The labels of the samples, each once, by name.
std::vector<std::string> sorted_labels(const Prepared& prepared);

/// Throws DataError unless each of `folders` is there below `options.raw`.
void require_layout(const PrepareOptions& options, const std::string& data_set,
                    const std::vector<std::string>& folders);

/// Moves a clip that cannot be used from the samples to what was left out.
class Pairing {
 public:
  explicit Pairing(Prepared& prepared) : prepared_(prepared) {}

  /// Clips that only one modality has, or that are too short, are left out; a wave file of fewer
  /// than `min_bytes` or a folder with fewer than `min_images` is too short.
  void add(const std::vector<Clips>& modalities, std::optional<Split> split,
           const std::function<std::string(const std::string& clip)>& label,
           const std::string& id_prefix = "");

  /// One clip that a list names; left out when no modality has it.
  void add_listed(const std::string& clip, const std::vector<const Clips*>& modalities, Split split,
                  const std::string& label);

  size_t min_bytes = 200;
  size_t min_images = 1;

 private:
  Prepared& prepared_;
};

}  // namespace unbraid
