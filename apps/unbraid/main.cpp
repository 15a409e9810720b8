#include <csignal>
#include <exception>
#include <iostream>
#include <new>
#include <string>

#include "apps/unbraid/commands.h"
#include "unbraid/core/error.h"
#include "unbraid/core/process.h"
#include "unbraid/core/stop.h"
#include "unbraid/core/torch.h"

namespace {

int fail(unbraid::ExitCode code, const std::string& message) {
  std::cerr << "unbraid: " << unbraid::on_one_line(message) << std::endl;
  return static_cast<int>(code);
}

int run(int argc, char** argv) {
  CLI::App app("Multimodal deep learning with disentangled gradient learning", "unbraid");
  app.set_version_flag("--version", UNBRAID_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 1 internal error, 2 usage, 3 bad recipe, 4 bad data, 5 bad or "
      "unwritable\n"
      "checkpoint or storage, 6 training diverged, 130 / 143 stopped by SIGINT / SIGTERM.");
  unbraid::add_demo(app);
  unbraid::add_train(app);
  unbraid::add_eval(app);
  unbraid::add_probe(app);
  unbraid::add_compare(app);
  unbraid::add_report(app);
  unbraid::add_predict(app);
  unbraid::add_export(app);
  unbraid::add_prepare(app);
  unbraid::add_inspect(app);
  unbraid::add_doctor(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    app.exit(success);  // --help and --version
  } catch (const CLI::RequiredError& problem) {
    const std::string given = argc > 1 && app.get_subcommands().empty() ? argv[1] : "";
    return fail(
        unbraid::ExitCode::kUsage,
        given.empty()
            ? std::string(problem.what()) + "; see unbraid --help"
            : "expected the command demo, train, eval, probe, compare, report, predict, export, "
              "prepare, inspect or doctor, got " +
                  given);
  } catch (const CLI::ParseError& problem) {
    return fail(unbraid::ExitCode::kUsage, std::string(problem.what()) + "; see unbraid --help");
  }
  if (!std::cout.flush()) {
    return fail(unbraid::ExitCode::kStorage, "standard output: cannot be written");
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  unbraid::tune_process();
  std::signal(SIGINT, unbraid::request_stop);
  std::signal(SIGTERM, unbraid::request_stop);
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of writing
  try {
    at::set_num_threads(unbraid::default_threads());
    return run(argc, argv);
  } catch (const unbraid::Error& error) {
    return fail(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return fail(unbraid::ExitCode::kInternal, "out of memory");
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    const bool memory = what.find("allocate memory") != std::string::npos;
    return fail(unbraid::ExitCode::kInternal,
                memory ? "out of memory: a layer or a batch is too large for this machine" : what);
  } catch (const std::exception& error) {
    return fail(unbraid::ExitCode::kInternal, error.what());
  }
}
