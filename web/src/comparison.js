// The table of methods, and what they cost.

function differenceCell(report, estimate) {
  const state = standing(estimate, report.metric.smaller_is_better);
  return el("span", { class: `difference ${state}` },
    estimateText(estimate, report.metric.share, { signed: true }));
}

function comparisonSection(report) {
  const { name, share, smaller_is_better: smaller } = report.metric;
  const fused = report.methods.map((method, index) => ({ ...method, mark: markOf(report, index) }))
    .filter((method) => method.fused);
  if (fused.length === 0) return;
  fused.sort((left, right) => (smaller ? 1 : -1) * (left.fused[0] - right.fused[0]));
  const scale = new Scale(fused.map((method) => method.fused), share);
  const unit = share ? ", %" : "";
  const columns = [{ name: "Method" }, { name: scale.axis(), class: "picture" },
    { name: name + unit, class: "number" }];
  if (report.reference) {
    columns.push({ name: `minus ${report.reference}`, class: "number" },
      { name: "wins", class: "number" });
  }
  if (report.second) columns.push({ name: report.second + unit, class: "number" });
  for (const modality of report.modalities) {
    columns.push({ name: `${modality} alone${unit}`, class: "number" });
  }
  columns.push({ name: "runs", class: "number" });
  const rows = fused.map((method) => {
    const cells = [method.label,
      scale.track(scale.whisker(method.fused, method.mark.colour),
        scale.dot(method.fused, method.mark.colour)), estimateText(method.fused, share)];
    if (report.reference) {
      cells.push(differenceCell(report, method.difference),
        method.difference ? `${method.wins} of ${method.difference[2]}` : kNone);
    }
    if (report.second) cells.push(estimateText(method.second, share));
    for (const modality of report.modalities) {
      cells.push(estimateText(method.inside[modality], share));
    }
    return [...cells, String(method.seeds.length)];
  });
  const note = `On test, ${name} of the fused model, by the epoch that was best on val: mean ± half ` +
    "of the 95\u202f% interval over the seeds" + (report.reference ?
    `; differences to ${report.reference} paired by seed, bold where the interval leaves out 0` : "") +
    ". \u201calone\u201d: of one modality, by the fused model's own view of it.";
  const chance = fused.length > 6 ? " Each interval is one of 95\u202f% by itself: one in twenty " +
    "leaves out 0 by chance." : "";
  section("comparison", "Comparison",
    dataTable("Methods on test", columns, rows, { class: "tracks" }, true),
    el("p", { class: "note" }, note + chance));
}

function costSection(report) {
  const most = (key) => Math.max(...report.methods.map((method) => method[key]?.[0] ?? 0), 1e-9);
  const [seconds, memory] = [most("seconds"), most("memory")];
  const bar = (estimate, largest, index) => svg("svg", { class: "track", "aria-hidden": "true" },
    svg("line", { class: "cost", x1: 0, x2: `${estimate ? 100 * estimate[0] / largest : 0}%`,
      y1: "50%", y2: "50%", style: { stroke: `var(${markOf(report, index).colour})` } }));
  const rows = report.methods.map((method, index) => [method.label,
    bar(method.seconds, seconds, index), estimateText(method.seconds, false, { digits: 1 }),
    bar(method.memory, memory, index), estimateText(method.memory, false, { digits: 0 }),
    method.step ? (1000 * method.step[0]).toFixed(1) : kNone,
    method.wait ? (100 * method.wait[0]).toFixed(1) : kNone,
    estimateText(method.best_epoch, false, { digits: 1 })]);
  section("cost", "Cost", dataTable("Time and memory",
  [{ name: "Method" }, { name: "", class: "picture" }, { name: "seconds", class: "number" },
    { name: "", class: "picture" }, { name: "MiB", class: "number" },
    { name: "ms a step", class: "number" }, { name: "waiting, %", class: "number" },
    { name: "best epoch", class: "number" }], rows, { class: "tracks" }, true),
  el("p", { class: "note" }, "Seconds of the training epochs, the most memory that the run\u2019s " +
    "process held, the median step, the share of time that training waited for data, and the epoch " +
    "that was best on val: means over the seeds \u00b1 half of the 95\u202f% interval."));
}
