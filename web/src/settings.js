// What was run, on what, with which settings.

function settingsSection(report) {
  const parts = [];
  if (report.differing.length > 0) {
    const rows = report.differing.map(({ key, values }) => [el("code", {}, key),
      ...values.map((one) => el("code", {}, one === "" ? kNone : one))]);
    parts.push(dataTable("Settings in which the methods differ; all others are the same",
      [{ name: "Key" }, ...report.methods.map((method) => ({ name: method.label }))], rows,
      { class: "dense" }));
  }
  parts.push(el("div", { class: "screen" }, el("h3", {}, "Resolved recipes"),
    el("p", { class: "note" }, "Of the first seed of each method, every default written out."),
    report.methods.map((method) => el("details", {}, el("summary", {}, method.label),
      el("pre", { tabindex: 0 }, method.recipe)))));
  parts.push(el("h3", {}, "Data and machines"), el("dl", {},
    el("dt", {}, "Data"), el("dd", {}, `${report.data.name} (hash of the manifest `,
      el("code", {}, report.data.hash), ")"),
    report.machines.flatMap(({ machine, versions, runs }) => [el("dt", {}, plural(runs, "run")),
      el("dd", {}, machineText(machine, versions))])));
  parts.push(el("div", { class: "screen" }, el("h3", {}, "Runs"),
    lazyDetails(`All ${plural(report.runs.length, "run")}`, () => runsTable(report))));
  section("settings", "What was run", ...parts);
}

function machineText(machine, versions) {
  const parts = [machine.processor, machine.device ? `on ${machine.device}` : null,
    machine.cores ? plural(machine.cores, "core") : null,
    machine.threads ? plural(machine.threads, "thread") : null,
    versions.unbraid ? `Unbraid ${versions.unbraid}` : null,
    versions.libtorch ? `LibTorch ${versions.libtorch}` : null];
  return parts.filter(Boolean).join(", ");
}

function runsTable(report) {
  const { name, share } = report.metric;
  const unit = share ? ", %" : "";
  return dataTable(`Each run: ${name} on val and on test`, [{ name: "Method" },
    { name: "seed", class: "number" }, { name: "folder" }, { name: "best epoch", class: "number" },
    { name: `val${unit}`, class: "number" }, { name: `test${unit}`, class: "number" },
    ...report.modalities.map((modality) => ({ name: `${modality} alone${unit}`, class: "number" })),
    { name: "seconds", class: "number" }, { name: "MiB", class: "number" }],
  report.runs.map((run) => [run.label, String(run.seed), run.folder, String(run.best_epoch ?? kNone),
    value(run.best_val, share), value(run.fused, share),
    ...report.modalities.map((modality) => value(run.alone[modality], share)),
    value(run.seconds, false), value(run.memory, false)]), { class: "dense" });
}
