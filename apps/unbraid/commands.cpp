#include "apps/unbraid/commands.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "unbraid/core/error.h"

namespace unbraid {

std::string not_empty(const std::string& given) {
  return given.empty() ? "expected a name, got nothing" : "";
}

void refuse_to_replace(const std::string& path, const std::string& magic, const std::string& what) {
  std::error_code failure;
  if (!std::filesystem::is_regular_file(path, failure)) {
    return;  // not there, or refused when it is written
  }
  std::string start(magic.size(), '\0');
  std::ifstream(path, std::ios::binary)
      .read(start.data(), static_cast<std::streamsize>(start.size()));
  if (start != magic) {
    throw Error(ExitCode::kUsage,
                fmt::format("{}: is there already and is not {}; remove it or name another file",
                            path, what));
  }
}

void add_set(CLI::App& command, std::vector<std::string>& overrides) {
  command
      .add_option("--set", overrides,
                  "Change a key of the recipe: dotted.key=value; may be repeated")
      ->take_all()
      ->expected(1);
}

void add_absent(CLI::App& command, std::vector<std::string>& absent,
                const std::string& description) {
  command.add_option("--absent", absent, description + "; may be repeated")
      ->take_all()
      ->expected(1);
}

std::vector<bool> read_absent(const std::vector<std::string>& absent,
                              const std::vector<std::string>& modalities) {
  std::vector<bool> flags(modalities.size(), false);
  for (const std::string& name : absent) {
    const auto place = std::find(modalities.begin(), modalities.end(), name);
    if (place == modalities.end()) {
      throw Error(ExitCode::kUsage,
                  fmt::format("--absent {}: expected one of the run's modalities ({})", name,
                              fmt::join(modalities, ", ")));
    }
    flags[static_cast<size_t>(place - modalities.begin())] = true;
  }
  if (std::find(flags.begin(), flags.end(), false) == flags.end()) {
    throw Error(ExitCode::kUsage, "--absent: expected at least one modality to be left");
  }
  return flags;
}

std::string on_one_line(std::string message) {
  for (char& character : message) {
    if (static_cast<unsigned char>(character) < ' ' || character == '\x7f') {
      character = '?';
    }
  }
  return message;
}

void add_out(CLI::App& command, std::string& out, const std::string& description) {
  command.add_option("--out", out, description)->check(not_empty);
}

}  // namespace unbraid
