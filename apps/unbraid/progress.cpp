#include "apps/unbraid/progress.h"

#include <unistd.h>

#include <iostream>

#include <fmt/format.h>

#include "unbraid/core/stop.h"

namespace unbraid {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);

}  // namespace

bool on_terminal() { return isatty(STDERR_FILENO) != 0; }

Progress::Progress(std::string title, int64_t epochs, RunDirectory* directory)
    : title_(std::move(title)), epochs_(epochs), directory_(directory), terminal_(on_terminal()) {}

void Progress::on_batch(int64_t epoch, size_t batch, size_t batches, double loss) {
  draw(epoch, static_cast<double>(batch) / static_cast<double>(batches),
       fmt::format("loss {:.4f}", loss));
}

void Progress::on_trial(int64_t epoch, int64_t batch, int64_t batches) {
  draw(epoch, static_cast<double>(batch) / static_cast<double>(batches), "trial of the method");
}

void Progress::draw(int64_t epoch, double share, const std::string& text) {
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now - drawn_ < kRedraw) {
    return;
  }
  drawn_ = now;
  constexpr size_t kWidth = 30;
  const auto filled = static_cast<size_t>(kWidth * share);
  std::cerr << kClearLine
            << fmt::format("{}  epoch {}/{} [{:<{}}] {}", title_, epoch, epochs_,
                           std::string(filled, '#'), kWidth, text)
            << std::flush;
}

void Progress::on_epoch(const EpochRecord& record) {
  const auto& [metric, value] = record.val.fused.metrics.front();
  line(fmt::format(
      "{}  epoch {}/{}  loss {:.4f}  val loss {:.4f}  val {} {:.4f}{}  {:.1f} s  {:.0f} "
      "samples/s",
      title_, record.epoch, epochs_, record.loss, record.val.fused.loss, metric, value,
      record.best ? " *" : "", record.seconds, record.samples_per_second));
}

void Progress::line(const std::string& text) {
  std::cerr << (terminal_ ? kClearLine : "") << text << std::endl;
  if (directory_ != nullptr) {
    directory_->log(text);
  }
}

void show_generation(size_t done, size_t total) {
  throw_if_stopped();
  if (on_terminal()) {
    std::cerr << kClearLine << fmt::format("generating samples  {}/{}", done, total)
              << (done == total ? kClearLine : "") << std::flush;
  } else if (done == total) {
    std::cerr << fmt::format("generated {} samples", total) << std::endl;
  }
}

}  // namespace unbraid
