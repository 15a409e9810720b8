#include "unbraid/training/doctor.h"

#include <iostream>

#include "apps/unbraid/commands.h"

namespace unbraid {

void add_doctor(CLI::App& app) {
  app.add_subcommand("doctor", "Say what this machine offers and what slows it")->callback([] {
    std::cout << format_findings(examine_machine());
  });
}

}  // namespace unbraid
