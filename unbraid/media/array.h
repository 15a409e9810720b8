#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "unbraid/media/decoder.h"
#include "unbraid/media/normalize.h"
#include "unbraid/media/npy.h"

namespace unbraid {

/// No larger .npy file is read.
inline constexpr int64_t kMaxNpyBytes = int64_t{16} << 30;

/// kind = "array": numbers from .npy or .npz files, as float. With `table`, one file is held in
/// memory for all samples, and a cell is the number of a row, from 0; without, a cell is the path
/// of the sample's own array. `decode` gives the row or the array in its shape; `transform`
/// normalises.
///
/// Keys: table = "" (a path), member = "" (the array of a .npz that holds several), normalize with
/// its keys (see Normalization).
class ArrayDecoder final : public Decoder {
 public:
  explicit ArrayDecoder(Options& options);

  [[nodiscard]] std::string resolve(const std::string& cell,
                                    const std::string& folder) const override {
    return table_ == nullptr ? Decoder::resolve(cell, folder) : cell;
  }
  void check(const std::string& cell) const override;
  [[nodiscard]] std::vector<std::string> files(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor decode(const std::string& cell) const override;
  [[nodiscard]] torch::Tensor transform(const torch::Tensor& decoded,
                                        const SampleContext& context) const override;

 private:
  // Throws when `cell` is no row of the table.
  int64_t row_number(const std::string& cell) const;

  std::string table_path_;
  std::string member_;
  std::unique_ptr<const NpyArray> table_;
  Normalization normalization_;
};

}  // namespace unbraid
