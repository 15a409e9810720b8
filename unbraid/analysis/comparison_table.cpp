#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "unbraid/analysis/comparison.h"

namespace unbraid {
namespace {

std::string in_words(const Estimate& estimate) {
  if (estimate.count == 0) {
    return "";
  }
  return std::isnan(estimate.half_width)
             ? fmt::format("{:.4f}", estimate.mean)
             : fmt::format("{:.4f} ± {:.4f}", estimate.mean, estimate.half_width);
}

struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};

Table table_of(const Comparison& comparison) {
  const bool referenced = !comparison.reference.empty();
  Table table;
  table.header = {"", comparison.metric};
  if (!comparison.second_metric.empty()) {
    table.header.push_back(comparison.second_metric);
  }
  if (referenced) {
    table.header.push_back(fmt::format("minus {}", comparison.reference));
    table.header.emplace_back("wins");
  }
  for (const std::string& modality : comparison.modalities) {
    table.header.push_back(modality);
  }
  const bool gaps = std::any_of(comparison.rows.begin(), comparison.rows.end(),
                                [](const ComparisonRow& row) { return !row.gap.empty(); });
  for (const std::string& modality : comparison.modalities) {
    if (gaps) {
      table.header.push_back(fmt::format("gap of {}", modality));
    }
  }
  for (const char* last : {"runs", "seconds", "MiB"}) {
    table.header.emplace_back(last);
  }
  for (const ComparisonRow& row : comparison.rows) {
    std::vector<std::string> cells{row.label, in_words(row.fused)};
    if (!comparison.second_metric.empty()) {
      cells.push_back(in_words(row.second));
    }
    if (referenced) {
      cells.push_back(in_words(row.difference));
      cells.push_back(
          row.difference.count == 0 ? "" : fmt::format("{} of {}", row.wins, row.difference.count));
    }
    for (const auto* estimates : {&row.alone, &row.gap}) {
      if (estimates == &row.gap && !gaps) {
        continue;
      }
      for (const std::string& modality : comparison.modalities) {
        const auto found = estimates->find(modality);
        cells.push_back(found == estimates->end() ? "" : in_words(found->second));
      }
    }
    cells.push_back(fmt::format("{}", row.runs));
    cells.push_back(fmt::format("{:.1f}", row.seconds));
    cells.push_back(fmt::format("{:.0f}", row.peak_rss_mb));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

/// On a terminal ± is one column and two bytes.
size_t columns_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
  }));
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) {
    text.replace(at, what.size(), by);
  }
  return text;
}

std::string csv_estimate(const Estimate& estimate) {
  if (estimate.count == 0) {
    return ",,";
  }
  return std::isnan(estimate.half_width) ? fmt::format("{:.6g},,", estimate.mean)
                                         : fmt::format("{:.6g},{:.6g},{:.6g}", estimate.mean,
                                                       estimate.mean - estimate.half_width,
                                                       estimate.mean + estimate.half_width);
}

std::string csv_header(const std::string& name) {
  return fmt::format("{0},{0}_low,{0}_high", name);
}

}  // namespace

std::string to_text(const Comparison& comparison) {
  const Table table = table_of(comparison);
  std::vector<size_t> widths;
  for (const std::string& title : table.header) {
    widths.push_back(columns_of(title));
  }
  for (const auto& row : table.rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], columns_of(row[i]));
    }
  }
  std::string text;
  const auto append = [&](const std::vector<std::string>& cells) {
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string space(widths[i] - columns_of(cells[i]), ' ');
      text +=
          i == 0 ? fmt::format("{}{}", cells[i], space) : fmt::format("  {}{}", space, cells[i]);
    }
    text += "\n";
  };
  append(table.header);
  for (const auto& row : table.rows) {
    append(row);
  }
  return text;
}

std::string to_markdown(const Comparison& comparison) {
  const Table table = table_of(comparison);
  std::string text;
  const auto append = [&](const std::vector<std::string>& cells) {
    text += "|";
    for (const std::string& cell : cells) {
      text += fmt::format(" {} |", cell);
    }
    text += "\n";
  };
  append(table.header);
  text += "|---|";
  for (size_t i = 1; i < table.header.size(); ++i) {
    text += "---:|";
  }
  text += "\n";
  for (const auto& row : table.rows) {
    append(row);
  }
  return text;
}

std::string to_latex(const Comparison& comparison) {
  const Table table = table_of(comparison);
  std::string text = fmt::format("\\begin{{tabular}}{{l{}}}\n\\toprule\n",
                                 std::string(table.header.size() - 1, 'r'));
  const auto append = [&](const std::vector<std::string>& cells) {
    for (size_t i = 0; i < cells.size(); ++i) {
      std::string cell = replaced(cells[i], "_", "\\_");
      cell = replaced(cell, " ± ", " $\\pm$ ");
      text += fmt::format("{}{}", i == 0 ? "" : " & ", cell);
    }
    text += " \\\\\n";
  };
  append(table.header);
  text += "\\midrule\n";
  for (const auto& row : table.rows) {
    append(row);
  }
  return text + "\\bottomrule\n\\end{tabular}\n";
}

std::string to_csv(const Comparison& comparison) {
  std::string text = fmt::format("method,runs,{}", csv_header(comparison.metric));
  if (!comparison.second_metric.empty()) {
    text += fmt::format(",{}", csv_header(comparison.second_metric));
  }
  text += fmt::format(",{},wins", csv_header("difference"));
  for (const std::string& modality : comparison.modalities) {
    text +=
        fmt::format(",{},{}", csv_header(modality), csv_header(fmt::format("gap_{}", modality)));
  }
  text += ",seconds,peak_rss_mb\n";
  const auto of = [](const std::map<std::string, Estimate>& estimates,
                     const std::string& modality) {
    const auto found = estimates.find(modality);
    return csv_estimate(found == estimates.end() ? Estimate() : found->second);
  };
  for (const ComparisonRow& row : comparison.rows) {
    text += fmt::format("{},{},{}", row.label, row.runs, csv_estimate(row.fused));
    if (!comparison.second_metric.empty()) {
      text += fmt::format(",{}", csv_estimate(row.second));
    }
    text += fmt::format(",{},{}", csv_estimate(row.difference),
                        row.difference.count == 0 ? "" : std::to_string(row.wins));
    for (const std::string& modality : comparison.modalities) {
      text += fmt::format(",{},{}", of(row.alone, modality), of(row.gap, modality));
    }
    text += fmt::format(",{:.6g},{:.6g}\n", row.seconds, row.peak_rss_mb);
  }
  return text;
}

std::string runs_to_csv(const std::vector<RunResult>& results) {
  std::set<std::string> metrics;
  std::vector<std::string> modalities;
  for (const RunResult& result : results) {
    for (const auto& [metric, value] : result.fused) {
      metrics.insert(metric);
    }
    for (const auto& [modality, values] : result.alone) {
      if (std::find(modalities.begin(), modalities.end(), modality) == modalities.end()) {
        modalities.push_back(modality);
      }
    }
  }
  std::string text = "method,seed,best_val";
  for (const std::string& metric : metrics) {
    text += fmt::format(",{}", metric);
    for (const std::string& modality : modalities) {
      text += fmt::format(",{}_{}", metric, modality);
    }
  }
  text += ",seconds,peak_rss_mb\n";
  const auto append = [&](const std::map<std::string, double>& values, const std::string& metric) {
    const auto found = values.find(metric);
    text += found == values.end() ? std::string(",") : fmt::format(",{:.6g}", found->second);
  };
  for (const RunResult& result : results) {
    text += fmt::format("{},{},{:.6g}", result.label, result.seed, result.best_val);
    for (const std::string& metric : metrics) {
      append(result.fused, metric);
      for (const std::string& modality : modalities) {
        const auto found = result.alone.find(modality);
        append(found == result.alone.end() ? std::map<std::string, double>() : found->second,
               metric);
      }
    }
    text += fmt::format(",{:.6g},{:.6g}\n", result.seconds, result.peak_rss_mb);
  }
  return text;
}

}  // namespace unbraid
