// Learning curves and gradients.

function curveSection(report, id, title, { epochs, quantities }, titleOf, notes) {
  if (quantities.length === 0) return;
  const chart = new CurveChart(report, { epochs, titleOf });
  const meaning = el("p", { class: "note" });
  const choose = (index) => {
    meaning.textContent = quantities[index].meaning ?? "";
    meaning.hidden = !meaning.textContent;
    chart.show(quantities[index]);
  };
  section(id, title, ...notes, choice("Show", quantities.map((one) => one.name), choose), meaning,
    chart.node);
  choose(0);
}

function curvesSection(report) {
  const several = report.methods.some((method) => method.seeds.length > 1);
  curveSection(report, "curves", "Learning curves", report.curves,
    (part) => part.name === "" ? "fused model" : `${part.name} alone`,
    [el("p", { class: "note" }, "The fused model and each modality alone, by the model\u2019s own " +
      "view of it; dotted: trained alone." + (several ?
      " Lines are means over the seeds, bands reach from the smallest to the largest." : ""))]);
}

function gradientsSection(report) {
  const notes = report.gradients.probed ? [] : [el("p", { class: "note" },
    "The runs have no probes (probes.jsonl), so ratios of gradients are not known; this is the " +
    "gradient that reached the encoders.")];
  curveSection(report, "gradients", "Gradients over time", report.gradients,
    (part) => `encoder of ${part.name}`, notes);
}
