// How far each modality falls short, inside each method, of what it reaches when it is trained alone.

function gapBar(scale, inside, alone, kind) {
  return svg("line", { class: `bar ${kind}`, x1: scale.at(inside[0]), x2: scale.at(alone[0]),
    y1: "50%", y2: "50%" });
}

function gapRows(report, modality, alone, methods, scale) {
  const share = report.metric.share;
  const guide = () => svg("line", { class: "guide", x1: scale.at(alone[0]), x2: scale.at(alone[0]),
    y1: 0, y2: "100%" });
  const rows = [el("tr", { class: "alone" }, el("th", { scope: "row" }, "trained alone"),
    el("td", { class: "picture" }, scale.track(guide(), scale.whisker(alone, "--alone"),
      scale.dot(alone, "--alone"))),
    el("td", { class: "number" }, estimateText(alone, share)), el("td", { class: "number" }, ""))];
  for (const method of methods) {
    const inside = method.inside[modality];
    const gap = method.gap[modality] ?? null;
    if (!inside) continue;
    const state = standing(gap, report.metric.smaller_is_better);
    const kind = { better: "lost", worse: "gained", open: "open" }[state];
    rows.push(el("tr", {}, el("th", { scope: "row" }, method.label),
      el("td", { class: "picture" }, scale.track(guide(), gapBar(scale, inside, alone, kind),
        scale.whisker(inside, "--ink"), scale.dot(inside, "--ink"))),
      el("td", { class: "number" }, estimateText(inside, share)),
      el("td", { class: `number gap ${kind}` },
        estimateText(gap, share, { signed: true }))));
  }
  return rows;
}

function gapsSection(report) {
  const fused = report.methods.filter((method) => !method.trained_alone);
  const alone = {};
  for (const [modality, label] of Object.entries(report.trained_alone)) {
    const method = report.methods.find((one) => one.label === label);
    if (method && method.inside[modality]) alone[modality] = method.inside[modality];
  }
  const modalities = report.modalities.filter((modality) => alone[modality] &&
    fused.some((method) => method.inside[modality]));
  if (modalities.length === 0) {
    return;
  }
  const estimates = modalities.flatMap((modality) => [alone[modality],
    ...fused.map((method) => method.inside[modality]).filter(Boolean)]);
  const scale = new Scale(estimates, report.metric.share);
  const unit = report.metric.share ? " in %" : "";
  const table = el("table", { class: "tracks gaps" },
    el("caption", { class: "hidden" }, "Each modality inside the fused model and trained alone"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Trained by"),
      el("td", { class: "picture" }, scale.axis()),
      el("th", { scope: "col", class: "number" }, report.metric.name),
      el("th", { scope: "col", class: "number" }, "gap"))),
    modalities.map((modality) => el("tbody", {},
      el("tr", { class: "group" }, el("th", { scope: "rowgroup", colspan: 4 }, modality)),
      gapRows(report, modality, alone[modality], fused, scale))));
  section("gaps", "Gaps: what each modality loses inside the model", gapsKey(),
    scrolling(table, "Gaps of the modalities"), el("p", { class: "note" },
      `On test, ${report.metric.name} of each modality alone${unit}: how well it does inside the ` +
      "fused model beside how well it does when nothing else is trained with it. The bar is what " +
      "it loses. Means over the seeds with 95\u202f% intervals; a gap is trained alone minus inside, " +
      "paired by seed."));
}

function gapsKey() {
  const item = (kind, text) => el("li", {}, svg("svg", { width: 30, height: 12,
    "aria-hidden": "true" }, svg("line", { class: `bar ${kind}`, x1: 2, x2: 28, y1: 6, y2: 6 })),
  text);
  return el("ul", { class: "key", "aria-label": "Key" }, item("lost", "lost"),
    item("gained", "gained"), item("open", "the seeds leave it open"));
}
