#pragma once

#include <string>

#include "unbraid/data/generated_set.h"

namespace unbraid {

/// The embedded data set of four time series: a machine watched by four sensors that differ in what
/// they tell.
struct SensorsOptions : GeneratedSetOptions {
  SensorsOptions() {
    train = 1200;
    val = 400;
    test = 400;
  }

  /// What the labels are.
  enum class Target { kRegression, kMultilabel };
  Target target = Target::kRegression;
  /// The probability that a cell is left empty, at most 0.9; a sample keeps at least one.
  double missing = 0.0;
};

/// Generates the set (or finds it complete in the cache) and returns the path of its manifest,
/// `regression.csv` or `multilabel.csv`: `id,split,label,vibration,sound,temperature,current`,
/// cells being .npy files of float32, [T, C]. The same options give the same bytes with the same
/// mathematical library. Several processes may call it at once.
///
/// A machine has a load and a wear, both uniform in 0 to 1, and each of four faults with
/// probability 0.3. As regression, a label is its strain, 60 load + 40 wear and normal noise of
/// deviation 2; as multilabel, its faults, "-" for none.
///
/// | series | [T, C] | of the strain | of the faults |
/// |---|---|---|---|
/// | vibration, strong | [128, 3] | load | imbalance, bearing |
/// | sound, noisy | [256, 1] | load, below noise | imbalance, bearing, below noise |
/// | temperature, complementary | [32, 1] | wear | overheating |
/// | current, weak | [64, 2] | a trace of load | a trace of phase_loss |
///
/// Throws RecipeError for an option out of range, StorageError when the cache cannot be written.
std::string prepare_sensors(const SensorsOptions& options, const GenerationProgress& progress = {});

}  // namespace unbraid
