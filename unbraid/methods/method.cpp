#include "unbraid/methods/method.h"

#include <array>

#include "unbraid/core/stop.h"
#include "unbraid/methods/agm.h"
#include "unbraid/methods/arl.h"
#include "unbraid/methods/auxiliary.h"
#include "unbraid/methods/cml.h"
#include "unbraid/methods/dgl.h"
#include "unbraid/methods/g_blending.h"
#include "unbraid/methods/gated_dgl.h"
#include "unbraid/methods/joint.h"
#include "unbraid/methods/mla.h"
#include "unbraid/methods/mmcosine.h"
#include "unbraid/methods/mmpareto.h"
#include "unbraid/methods/ogm.h"
#include "unbraid/methods/opm.h"
#include "unbraid/methods/pmr.h"
#include "unbraid/methods/reconboost.h"
#include "unbraid/methods/relearning.h"
#include "unbraid/methods/route.h"
#include "unbraid/methods/soft_dgl.h"
#include "unbraid/methods/umt.h"
#include "unbraid/methods/unimodal.h"

namespace unbraid {
namespace {

struct Entry {
  const char* type;
  std::shared_ptr<Method> (*read)(Options&, const MethodContext&);
};

constexpr std::array kMethods{
    Entry{"unimodal", Unimodal::read},
    Entry{"joint", Joint::read},
    Entry{"auxiliary", Auxiliary::read},
    Entry{"dgl", Dgl::read},
    Entry{"soft-dgl", SoftDgl::read},
    Entry{"gated-dgl", GatedDgl::read},
    Entry{"route", Route::read},
    Entry{"ogm", Ogm::read},
    Entry{"ogm-ge", Ogm::read_ge},
    Entry{"pmr", Pmr::read},
    Entry{"agm", Agm::read},
    Entry{"g-blending", GBlending::read},
    Entry{"mmpareto", MmPareto::read},
    Entry{"mla", Mla::read},
    Entry{"mmcosine", MmCosine::read},
    Entry{"opm", Opm::read},
    Entry{"arl", Arl::read},
    Entry{"umt", Umt::read},
    Entry{"reconboost", ReconBoost::read},
    Entry{"cml", Cml::read},
    Entry{"relearning", Relearning::read},
};

}  // namespace

torch::Tensor TrainingStep::loss(const torch::Tensor& output, std::optional<size_t> only) const {
  throw_if_stopped();  // between modalities: a batch may take long
  return task.loss(output, only ? batch.presence.pack(batch.target, *only) : batch.target);
}

RoutedResult Method::backward(const TrainingStep& step) { return routed_backward(step, route()); }

RoutedResult routed_backward(const TrainingStep& step, const GradientRoute& route,
                             const FeatureRule& rule) {
  return routed_backward(
      step.model, step.batch.inputs, step.batch.presence,
      [&](const torch::Tensor& output, std::optional<size_t> only) {
        return step.loss(output, only);
      },
      route, step.scale, rule);
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  names.reserve(kMethods.size());
  for (const Entry& entry : kMethods) {
    names.emplace_back(entry.type);
  }
  return names;
}

std::shared_ptr<Method> read_method(Options& options, const MethodContext& context) {
  return choose(options, kMethods).read(options, context);
}

}  // namespace unbraid
