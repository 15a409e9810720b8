#include "unbraid/tasks/task.h"

#include <array>

#include "unbraid/tasks/classification.h"
#include "unbraid/tasks/multilabel.h"
#include "unbraid/tasks/ordinal.h"
#include "unbraid/tasks/regression.h"
#include "unbraid/tasks/segmentation.h"

namespace unbraid {
namespace {

struct Entry {
  const char* type;
  std::shared_ptr<const Task> (*read)(Options&);
};

constexpr std::array kTasks{
    Entry{"classification", Classification::read}, Entry{"multilabel", Multilabel::read},
    Entry{"regression", Regression::read},         Entry{"ordinal", Ordinal::read},
    Entry{"segmentation", Segmentation::read},
};

}  // namespace

std::shared_ptr<const Task> read_task(Options& options) {
  return choose(options, kTasks).read(options);
}

}  // namespace unbraid
