#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "unbraid/core/random.h"
#include "unbraid/data/generated_set.h"

namespace unbraid {

/// The embedded data set for segmentation: solids on a table, seen from above in colour and in
/// depth. A disc, a dome and a cone have one outline and any texture, so that depth alone tells
/// them apart; plain, striped and chequered blocks have one shape, so that texture alone does.
struct RgbdShapesOptions : GeneratedSetOptions {
  RgbdShapesOptions() {
    train = 800;
    val = 200;
    test = 300;
  }

  /// Scales the noise of both sensors; 0 = clean, at most 3.
  double difficulty = 1.0;
};

/// Generates the set (or finds it complete in the cache) and returns the path of its
/// `manifest.csv`: `id,split,label,color,depth`. label is a PNG of the class of each pixel, in the
/// order of rgbd_shapes::kClasses; color an RGB PNG; depth a .npy of float32 metres [1, 64, 64];
/// each 64 x 64. The same options give the same bytes. Several processes may call it at once.
///
/// Throws RecipeError for an option out of range, StorageError when the cache cannot be written.
std::string prepare_rgbd_shapes(const RgbdShapesOptions& options,
                                const GenerationProgress& progress = {});

namespace rgbd_shapes {

inline constexpr int kSide = 64;  // pixels
inline constexpr std::array kClasses = {"table",       "disc",          "dome",           "cone",
                                        "plain block", "striped block", "chequered block"};

/// One picture, row by row.
struct Scene {
  std::vector<uint8_t> color;  // kSide x kSide x 3, RGB
  std::vector<float> depth;    // kSide x kSide, metres from the camera
  std::vector<uint8_t> label;  // kSide x kSide, of kClasses
};

Scene render(double difficulty, RandomStream& random);

}  // namespace rgbd_shapes

}  // namespace unbraid
