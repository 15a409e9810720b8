#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "unbraid/core/options.h"
#include "unbraid/core/random.h"
#include "unbraid/core/torch.h"

namespace unbraid {

/// What a sample's random choices may depend on.
struct SampleContext {
  uint64_t seed = 0;
  uint64_t epoch = 0;
  std::string_view id = "";
  std::string_view modality = "";  // so that two modalities of one sample choose apart
  bool training = false;           // random augmentation on; off: the same tensor at every call

  [[nodiscard]] RandomStream random(std::string_view purpose) const {
    return RandomStream::of(seed, epoch, id, std::string(modality).append("/").append(purpose));
  }
};

/// Turns one manifest cell of one modality into the tensor that its encoder sees, in two steps, so
/// that the first can be cached: `decode` depends on the cell and the settings alone, `transform`
/// holds everything random and all that is cheap. Thread-safe; failures are a DataError that names
/// the file and the reason.
class Decoder {
 public:
  virtual ~Decoder() = default;

  /// A manifest's cell as the functions below take it: paths that are relative to `folder`, the
  /// manifest's, become such that can be opened. A cell is one path unless a kind says otherwise.
  [[nodiscard]] virtual std::string resolve(const std::string& cell,
                                            const std::string& folder) const;
  /// Throws when `cell` cannot be decoded for a reason visible without decoding it (a missing file,
  /// a row number out of range).
  virtual void check(const std::string& cell) const = 0;
  /// The files that `cell` is read from. A cell is one path unless a kind says otherwise.
  [[nodiscard]] virtual std::vector<std::string> files(const std::string& cell) const {
    return {cell};
  }
  [[nodiscard]] virtual torch::Tensor decode(const std::string& cell) const = 0;
  [[nodiscard]] virtual torch::Tensor transform(const torch::Tensor& decoded,
                                                const SampleContext& context) const = 0;
  /// `transform(decode(cell), context)`, by a shorter way where there is one.
  [[nodiscard]] virtual torch::Tensor load(const std::string& cell,
                                           const SampleContext& context) const {
    return transform(decode(cell), context);
  }
  /// A text that changes whenever `decode(cell)` may: the settings that it depends on, and the
  /// path, size and time stamp of each file. Empty when keeping what is decoded would gain nothing.
  [[nodiscard]] virtual std::string cache_key(const std::string& /*cell*/) const { return ""; }
};

/// Reads `kind` and its keys from a [modalities.NAME] table ("encoder" excepted) and builds the
/// decoder, held to decode_mb = 1024 (of 2^20 bytes) and decode_seconds = 60 for each cell. `kind`
/// is "audio", "image", "video", "array" or "text".
std::shared_ptr<const Decoder> make_decoder(Options& options);

}  // namespace unbraid
