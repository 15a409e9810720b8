#include <filesystem>
#include <iostream>
#include <memory>

#include <fmt/format.h>

#include "apps/unbraid/commands.h"
#include "unbraid/core/error.h"

#ifdef UNBRAID_WITH_REPORT
#include "report_page.h"
#include "unbraid/analysis/report.h"
#include "unbraid/core/durable_file.h"
#endif

namespace unbraid {
namespace {

struct ReportArguments {
  std::vector<std::string> runs;
  std::string out;
};

#ifdef UNBRAID_WITH_REPORT
void run(const ReportArguments& arguments) {
  constexpr std::string_view kStart = "<!DOCTYPE html>\n<!-- Unbraid report -->";
  refuse_to_replace(arguments.out, std::string(kStart), "a report of Unbraid");
  const RunSelection selection = select_runs({arguments.runs.begin(), arguments.runs.end()});
  const std::string data = as_script(report_data(selection));
  DurableFile file(arguments.out);
  for (const std::string_view part :
       {kReportPageBefore, std::string_view(data), kReportPageAfter}) {
    file.write(part.data(), part.size());
  }
  file.commit();
  std::cout << fmt::format("{}: {} runs", arguments.out, selection.runs.size());
  if (!selection.missing.empty()) {
    std::cout << fmt::format(" ({} more are missing, which the report names)",
                             selection.missing.size());
  }
  std::cout << "\n";
}
#else
void run(const ReportArguments& /*arguments*/) {
  throw Error(ExitCode::kUsage,
              "report: this program was built without it (-DUNBRAID_WITH_REPORT=OFF)");
}
#endif

}  // namespace

void add_report(CLI::App& app) {
  auto arguments = std::make_shared<ReportArguments>();
  CLI::App* command =
      app.add_subcommand("report", "Write what runs found as one HTML page that needs no network");
  command->add_option("RUN", arguments->runs, "Folders of finished runs, or of comparisons")
      ->required()
      ->check(not_empty);
  command->add_option("-o,--out", arguments->out, "The HTML file to write")
      ->required()
      ->check(not_empty);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace unbraid
