#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "unbraid/core/pickle.h"
#include "unbraid/media/npy.h"

namespace unbraid {

/// An array of NumPy inside a pickle, which must outlive it: real numbers of at most 8 bytes in
/// either byte order, or texts (of NumPy's types U and S, or objects that are str or bytes). Its
/// values stay where they lie in the file, unless a protocol below 3 wrote them, as text: that is
/// decoded. Failures are a DataError that names the file, `name` and the place.
class PickledArray {
 public:
  PickledArray(const Pickle& pickle, const PickleValue& value, std::string name);

  [[nodiscard]] const std::vector<int64_t>& shape() const { return layout_.shape; }
  [[nodiscard]] int64_t size() const { return size_; }
  [[nodiscard]] bool is_numeric() const { return layout_.is_numeric(); }
  /// Fills `values` with the elements of a numeric array from number `first` on, counted with the
  /// last index running fastest, rounded to float; they may be infinite or NaN.
  void read(int64_t first, std::span<float> values) const;
  /// Element `index` of an array of texts; bytes are taken as they are.
  [[nodiscard]] std::string text(int64_t index) const;

  /// "<file>: <name>: expected …, found …".
  [[nodiscard]] DataError error(std::string_view expected, std::string_view found) const;

 private:
  void read_frombuffer(const PickleValue& arguments);
  void read_state(const PickleValue& state);
  void read_shape(const PickleValue& shape);
  void read_type(const PickleValue& type);
  void set_data(const PickleValue& bytes);

  const Pickle* pickle_;
  std::string name_;
  ArrayLayout layout_;
  int64_t size_ = 0;
  std::string_view data_;
  std::shared_ptr<const std::string>
      decoded_;                              // what `data_` shows, where the file holds it as text
  std::vector<const PickleValue*> objects_;  // of an array of objects, last index fastest
};

}  // namespace unbraid
