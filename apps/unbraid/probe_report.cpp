#include "apps/unbraid/probe_report.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace unbraid {
namespace {

using nlohmann::json;

constexpr size_t kNameWidth = 24;
constexpr size_t kMostEpochs = 20;

/// A cell of a table; "-" for what is missing or has no value.
std::string cell(const json& values, const std::string& key) {
  const auto found = values.find(key);
  return fmt::format(
      "{:>12}", found == values.end() || !found->is_number() || !std::isfinite(found->get<double>())
                    ? "-"
                    : fmt::format("{:.4f}", found->get<double>()));
}

/// A line with a name and a column for each of `keys`.
std::string row(const std::string& name, const json& values, const std::vector<std::string>& keys) {
  std::string text = fmt::format("{:<{}}", name, kNameWidth);
  for (const std::string& key : keys) {
    text += cell(values, key);
  }
  return text + "\n";
}

std::string head(const std::vector<std::string>& titles) {
  std::string text = fmt::format("{:<{}}", "", kNameWidth);
  for (const std::string& title : titles) {
    text += fmt::format("{:>12}", title);
  }
  return text + "\n";
}

/// Calls `use` with what `by_name` has of each modality, in the order of the model.
template <typename Use>
void for_each_modality(const json& names, const json& by_name, const Use& use) {
  for (const json& name : names) {
    if (const auto found = by_name.find(name.get<std::string>()); found != by_name.end()) {
      use(name.get<std::string>(), *found);
    }
  }
}

std::string format_gradients(const json& gradients, const json& names) {
  std::string text = fmt::format(
      "\nGradient of the multimodal loss over that of the unimodal loss ({} batches of train)\n",
      gradients.at("batches").get<int64_t>());
  text += head({"feature", "median", "cosine", "below 1", "encoder", "cosine"});
  bool closed = false;
  const json& modalities = gradients.at("modalities");
  for_each_modality(names, modalities, [&](const std::string& name, const json& values) {
    text += row(name, values,
                {"feature_ratio", "feature_ratio_median", "feature_cosine", "share_below_one",
                 "encoder_ratio", "encoder_cosine"});
    closed = closed || values.contains("closed_form_ratio");
  });
  if (closed) {
    text += "\nThe same at the feature in closed form (docs/theory.md), from the outputs alone\n";
    text += head({"feature", "difference", "residual", "surer"});
    for_each_modality(names, modalities, [&](const std::string& name, const json& values) {
      text += row(name, values,
                  {"closed_form_ratio", "closed_form_error", "residual_ratio", "share_surer"});
    });
  }
  return text;
}

/// By epoch; of many epochs some.
std::string format_history(const json& history, const json& names) {
  std::string text = "\nBy epoch, as the run measured it\n";
  text += fmt::format("{:>5} {:<{}}{:>12}{:>12}{:>12}{:>12}{:>12}\n", "epoch", "", kNameWidth - 6,
                      "feature", "cosine", "below 1", "encoder", "cosine");
  const size_t shown = std::min(history.size(), kMostEpochs);
  for (size_t i = 0; i < shown; ++i) {
    const json& line =
        history[shown < 2 ? 0 : (i * (history.size() - 1) + (shown - 1) / 2) / (shown - 1)];
    std::string epoch = std::to_string(line.at("epoch").get<int64_t>());
    for_each_modality(
        names, line.at("modalities"), [&](const std::string& name, const json& values) {
          text += fmt::format("{:>5} {:<{}}{}{}{}{}{}\n", epoch, name, kNameWidth - 6,
                              cell(values, "feature_ratio"), cell(values, "feature_cosine"),
                              cell(values, "share_below_one"), cell(values, "encoder_ratio"),
                              cell(values, "encoder_cosine"));
          epoch.clear();
        });
  }
  if (shown < history.size()) {
    text += fmt::format("({} of {} epochs; probes.jsonl has all)\n", shown, history.size());
  }
  return text;
}

std::string format_parameters(const json& parameters) {
  const json& frozen = parameters.at("frozen");
  const json& unreached = parameters.at("unreached");
  std::string text =
      fmt::format("\nParameters that never receive a gradient: {} of {}\n",
                  frozen.size() + unreached.size(), parameters.at("all").get<size_t>());
  for (const json& name : unreached) {
    text += fmt::format("  {}: no loss reaches it\n", name.get<std::string>());
  }
  for (const json& name : frozen) {
    text += fmt::format("  {}: frozen\n", name.get<std::string>());
  }
  return text;
}

std::string format_linear(const json& linear, const std::string& split, const json& names) {
  if (linear.is_null()) {
    return "\nLinear probes are for classification: this run has another task\n";
  }
  std::string text = fmt::format("\nLinear probes of the frozen encoders, {} on {}\n",
                                 linear.at("metric").get<std::string>(), split);
  text += head({"probe", "on train", "in fusion"});
  for_each_modality(names, linear.at("modalities"),
                    [&](const std::string& name, const json& values) {
                      text += row(name, values, {"value", "value_on_train", "alone"});
                    });
  return text;
}

std::string format_shapley(const json& shapley, const std::string& split, const json& names) {
  if (shapley.is_null()) {
    return "\nShapley contributions are for at most 12 modalities\n";
  }
  std::string text = fmt::format(
      "\nShapley contributions to {} on {}{}\n", shapley.at("metric").get<std::string>(), split,
      shapley.at("smaller_is_better").get<bool>() ? ", an error: below 0 is good" : "");
  text += row("without any modality", shapley, {"empty"});
  for_each_modality(names, shapley.at("modalities"),
                    [&](const std::string& name, const json& value) {
                      text += row("+ " + name, {{"value", value}}, {"value"});
                    });
  return text + row("= with all", shapley, {"all"});
}

}  // namespace

std::string format_probe(const json& probe) {
  const std::string split = probe.at("split").get<std::string>();
  std::string text =
      fmt::format("{}: {}, checkpoint {}, epoch {}\n", probe.at("run").get<std::string>(),
                  probe.at("method").get<std::string>(), probe.at("checkpoint").get<std::string>(),
                  probe.at("epoch").get<int64_t>());
  const json& names = probe.at("modalities");
  text += format_gradients(probe.at("gradients"), names);
  if (!probe.at("history").empty()) {
    text += format_history(probe.at("history"), names);
  }
  text += format_parameters(probe.at("parameters"));
  text += format_linear(probe.at("linear_probe"), split, names);
  return text + format_shapley(probe.at("shapley"), split, names);
}

}  // namespace unbraid
