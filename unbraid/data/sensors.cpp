#include "unbraid/data/sensors.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <numbers>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include "unbraid/core/error.h"
#include "unbraid/core/random.h"
#include "unbraid/media/npy.h"

namespace unbraid {
namespace {

namespace fs = std::filesystem;

constexpr int kGeneratorVersion = 1;  // raise it when the same options give other bytes
constexpr double kMostMissing = 0.9;
constexpr double kFaultProbability = 0.3;
constexpr double kStrainOfLoad = 60;
constexpr double kStrainOfWear = 40;
constexpr double kStrainNoise = 2;

enum Fault : size_t { kImbalance, kBearing, kOverheating, kPhaseLoss };
constexpr std::array kFaultNames = {"imbalance", "bearing", "overheating", "phase_loss"};

struct Machine {
  double load = 0;
  double wear = 0;
  double strain = 0;
  std::array<bool, kFaultNames.size()> faults = {};
};

Machine draw_machine(RandomStream random) {
  Machine machine;
  machine.load = random.uniform();
  machine.wear = random.uniform();
  machine.strain =
      kStrainOfLoad * machine.load + kStrainOfWear * machine.wear + kStrainNoise * random.normal();
  for (bool& fault : machine.faults) {
    fault = random.uniform() < kFaultProbability;
  }
  return machine;
}

/// A series [T, C] in the making.
struct Series {
  Series(int64_t steps, int64_t channels)
      : shape{steps, channels}, values(static_cast<size_t>(steps * channels)) {}

  float& at(int64_t step, int64_t channel) {
    return values[static_cast<size_t>(step * shape[1] + channel)];
  }
  void add_noise(double deviation, RandomStream& random) {
    for (float& value : values) {
      value += static_cast<float>(deviation * random.normal());
    }
  }

  std::vector<int64_t> shape;
  std::vector<float> values;
};

double wave(double cycles) { return std::sin(2 * std::numbers::pi * cycles); }

/// A rotor that turns faster and shakes harder with the load, along each of `gains` axes. An
/// imbalance shakes it at half its frequency, a bearing knocks every `period` steps.
void add_rotor(Series& series, const Machine& machine, std::span<const double> gains,
               double steps_per_second, RandomStream& random) {
  const double frequency = (0.04 + 0.04 * machine.load) / steps_per_second;
  const double amplitude = 0.4 + machine.load;
  const double imbalance = machine.faults[kImbalance] ? 0.6 : 0;
  const double knock = machine.faults[kBearing] ? 1.2 : 0;
  const double phase = random.uniform();
  const auto period = static_cast<int64_t>(16 * steps_per_second);
  const auto first = static_cast<int64_t>(random.below(static_cast<uint64_t>(period)));
  for (int64_t step = 0; step < series.shape[0]; ++step) {
    const double cycles = phase + frequency * static_cast<double>(step);
    const auto since = static_cast<double>((step + first) % period);
    const double knocking = std::exp(-since / 2) * (static_cast<int64_t>(since) % 2 == 0 ? 1 : -1);
    for (size_t axis = 0; axis < gains.size(); ++axis) {
      const double shift = 0.25 * static_cast<double>(axis);
      series.at(step, static_cast<int64_t>(axis)) += static_cast<float>(
          gains[axis] * (amplitude * wave(cycles + shift) + imbalance * wave(cycles / 2 + shift) +
                         knock * knocking));
    }
  }
}

Series vibration(const Machine& machine, RandomStream random) {
  Series series(128, 3);
  add_rotor(series, machine, std::array{1.0, 0.8, 0.6}, 1, random);
  series.add_noise(0.2, random);
  return series;
}

Series sound(const Machine& machine, RandomStream random) {
  Series series(256, 1);
  add_rotor(series, machine, std::array{1.0}, 2, random);
  series.add_noise(2.0, random);
  return series;
}

Series temperature(const Machine& machine, RandomStream random) {
  Series series(32, 1);
  const double ambient = 0.1 * random.normal();
  for (int64_t step = 0; step < series.shape[0]; ++step) {
    const auto time = static_cast<double>(step);
    const double heating = machine.faults[kOverheating] ? 0.08 * std::max(0.0, time - 16) : 0;
    series.at(step, 0) = static_cast<float>(
        ambient + (0.2 + 1.5 * machine.wear) * (1 - std::exp(-time / 6)) + heating);
  }
  series.add_noise(0.1, random);
  return series;
}

Series current(const Machine& machine, RandomStream random) {
  Series series(64, 2);
  const double amplitude = 1 + 0.1 * machine.load + 0.15 * random.normal();
  const double phase = random.uniform();
  for (int64_t step = 0; step < series.shape[0]; ++step) {
    for (int64_t channel = 0; channel < 2; ++channel) {
      const double share = channel == 1 && machine.faults[kPhaseLoss] ? 0.75 : 1;
      const double cycles =
          phase + static_cast<double>(step) / 8 + static_cast<double>(channel) / 3;
      series.at(step, channel) = static_cast<float>(share * amplitude * wave(cycles));
    }
  }
  series.add_noise(1.0, random);
  return series;
}

struct Sensor {
  const char* name;
  Series (*record)(const Machine&, RandomStream);
};
constexpr std::array kSensors = {Sensor{"vibration", vibration}, Sensor{"sound", sound},
                                 Sensor{"temperature", temperature}, Sensor{"current", current}};

std::string faults_of(const Machine& machine) {
  std::string label;
  for (size_t fault = 0; fault < kFaultNames.size(); ++fault) {
    if (machine.faults[fault]) {
      label += fmt::format("{}{}", label.empty() ? "" : ";", kFaultNames[fault]);
    }
  }
  return label.empty() ? "-" : label;
}

class Generator {
 public:
  Generator(const GeneratedSet& set, const SensorsOptions& options, fs::path folder)
      : set_(set), options_(options), folder_(std::move(folder)) {}

  void run(const GenerationProgress& progress) const {
    for (const Sensor& sensor : kSensors) {
      std::error_code failure;
      if (fs::create_directory(folder_ / sensor.name, failure); failure) {
        throw StorageError((folder_ / sensor.name).string() + ": " + failure.message());
      }
    }
    set_.in_parallel(
        set_.size(), [&](size_t i) { make_sample(set_.sample(i)); },
        [&](size_t done) { progress ? progress(done, set_.size()) : void(); });
    std::string header = "id,split,label";
    for (const Sensor& sensor : kSensors) {
      header += fmt::format(",{}", sensor.name);
    }
    std::string regression = header + "\n";
    std::string multilabel = regression;
    for (size_t i = 0; i < set_.size(); ++i) {
      const GeneratedSet::Sample sample = set_.sample(i);
      const Machine machine = machine_of(sample);
      const std::string cells = cells_of(sample);
      const std::string_view split = name_of(sample.split);
      regression += fmt::format("{},{},{:.3f}{}\n", sample.id, split, machine.strain, cells);
      multilabel += fmt::format("{},{},{}{}\n", sample.id, split, faults_of(machine), cells);
    }
    GeneratedSet::write(folder_ / "regression.csv", regression);
    GeneratedSet::write(folder_ / "multilabel.csv", multilabel);
  }

 private:
  [[nodiscard]] RandomStream stream(const GeneratedSet::Sample& sample,
                                    std::string_view purpose) const {
    return RandomStream::of(options_.seed, 0, sample.id, purpose);
  }
  [[nodiscard]] Machine machine_of(const GeneratedSet::Sample& sample) const {
    return draw_machine(stream(sample, "machine"));
  }

  [[nodiscard]] std::array<bool, kSensors.size()> present(
      const GeneratedSet::Sample& sample) const {
    RandomStream random = stream(sample, "missing");
    const uint64_t kept = random.below(kSensors.size());
    std::array<bool, kSensors.size()> present{};
    bool any = false;
    for (bool& one : present) {
      one = random.uniform() >= options_.missing;
      any = any || one;
    }
    present.at(kept) = present.at(kept) || !any;
    return present;
  }

  static std::string file_of(const Sensor& sensor, const GeneratedSet::Sample& sample) {
    return fmt::format("{}/{}.npy", sensor.name, sample.id);
  }

  [[nodiscard]] std::string cells_of(const GeneratedSet::Sample& sample) const {
    const auto is_present = present(sample);
    std::string cells;
    for (size_t i = 0; i < kSensors.size(); ++i) {
      cells += fmt::format(",{}", is_present.at(i) ? file_of(kSensors.at(i), sample) : "");
    }
    return cells;
  }

  void make_sample(const GeneratedSet::Sample& sample) const {
    const Machine machine = machine_of(sample);
    const auto is_present = present(sample);
    for (size_t i = 0; i < kSensors.size(); ++i) {
      if (is_present.at(i)) {
        const Sensor& sensor = kSensors.at(i);
        const Series series = sensor.record(machine, stream(sample, sensor.name));
        std::string content = npy_header(series.shape);
        content.append(reinterpret_cast<const char*>(series.values.data()),
                       series.values.size() * sizeof(float));
        GeneratedSet::write(folder_ / file_of(sensor, sample), content);
      }
    }
  }

  const GeneratedSet& set_;
  const SensorsOptions& options_;
  fs::path folder_;
};

}  // namespace

std::string prepare_sensors(const SensorsOptions& options, const GenerationProgress& progress) {
  const GeneratedSet set("sensors", options);
  set.check_option("missing", options.missing, 0, kMostMissing);
  return set.once(
      fmt::format("{} {} {} {} {} {}", kGeneratorVersion, options.seed, options.train, options.val,
                  options.test, options.missing),
      options.target == SensorsOptions::Target::kRegression ? "regression.csv" : "multilabel.csv",
      [&](const fs::path& folder) { Generator(set, options, folder).run(progress); });
}

}  // namespace unbraid
