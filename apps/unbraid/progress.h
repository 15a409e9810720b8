#pragma once

#include <chrono>
#include <string>

#include "unbraid/training/trainer.h"

namespace unbraid {

/// Shows a run on standard error: a bar that moves on a terminal, one line an epoch otherwise.
/// Lines go to the run's log too.
class Progress : public TrainingObserver {
 public:
  /// `title` begins every line.
  Progress(std::string title, int64_t epochs, RunDirectory* directory);

  void on_batch(int64_t epoch, size_t batch, size_t batches, double loss) override;
  void on_trial(int64_t epoch, int64_t batch, int64_t batches) override;
  void on_epoch(const EpochRecord& record) override;
  void on_warning(const std::string& text) override { line("warning: " + text); }

  /// A line beside the bar.
  void line(const std::string& text);

 private:
  void draw(int64_t epoch, double share, const std::string& text);

  std::string title_;
  int64_t epochs_;
  RunDirectory* directory_;
  bool terminal_;
  std::chrono::steady_clock::time_point drawn_;
};

/// Shows how far the embedded data set is, and ends its generation when asked to stop; for
/// Recipe::open_manifest.
void show_generation(size_t done, size_t total);

/// Puts the cursor of a terminal on an empty line.
constexpr const char* kClearLine = "\r\033[K";

/// Whether standard error is a terminal.
bool on_terminal();

}  // namespace unbraid
