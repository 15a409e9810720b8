#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace unbraid {

/// What the program's exit status says; the numbers are a contract with scripts.
enum class ExitCode : int {
  kDone = 0,
  kInternal = 1,
  kUsage = 2,
  kRecipe = 3,
  kData = 4,
  kStorage = 5,
  kDiverged = 6,
  kInterrupted = 130,
  kTerminated = 143,
};

/// A failure the user can act on: one line that names the file, the line or key, what was expected
/// and what was found. Anything else that is thrown is an internal error.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

  [[nodiscard]] ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

/// A recipe key, its value or a combination of settings is wrong.
class RecipeError : public Error {
 public:
  explicit RecipeError(const std::string& message) : Error(ExitCode::kRecipe, message) {}
};

/// A manifest, a media file or an array is missing, damaged or not what the recipe says.
class DataError : public Error {
 public:
  explicit DataError(const std::string& message) : Error(ExitCode::kData, message) {}
};

/// A checkpoint, a weight file or the place they are written to is bad.
class StorageError : public Error {
 public:
  explicit StorageError(const std::string& message) : Error(ExitCode::kStorage, message) {}
};

}  // namespace unbraid
