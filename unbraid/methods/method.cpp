#include "unbraid/methods/method.h"

#include <array>

#include "unbraid/methods/auxiliary.h"
#include "unbraid/methods/dgl.h"
#include "unbraid/methods/joint.h"
#include "unbraid/methods/route.h"
#include "unbraid/methods/unimodal.h"

namespace unbraid {
namespace {

struct Entry {
  const char* type;
  std::shared_ptr<Method> (*read)(Options&, const std::vector<std::string>&);
};

constexpr std::array kMethods{
    Entry{"unimodal", Unimodal::read},   Entry{"joint", Joint::read},
    Entry{"auxiliary", Auxiliary::read}, Entry{"dgl", Dgl::read},
    Entry{"route", Route::read},
};

}  // namespace

std::shared_ptr<Method> read_method(Options& options, const std::vector<std::string>& modalities) {
  return choose(options, kMethods).read(options, modalities);
}

}  // namespace unbraid
