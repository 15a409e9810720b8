// Puts the page together.

function heading(report) {
  const fused = report.methods.filter((method) => !method.trained_alone);
  const names = (fused.length > 0 ? fused : report.methods).map((method) => method.label);
  const shown = names.length > 4 ? [...names.slice(0, 3), `${names.length - 3} more`] : names;
  const seeds = [...new Set(report.runs.map((run) => run.seed))].sort((a, b) => a - b);
  const title = `${listed(shown)} on ${report.data.name || "one data set"}`;
  document.getElementById("title").textContent = title;
  document.title = `${title} \u2013 Unbraid report`;
  document.getElementById("subtitle").textContent = [plural(report.runs.length, "run"),
    seeds.length === 1 ? `seed ${seeds[0]}` : `${seeds.length} seeds`,
    `modalities ${listed(report.modalities)}`,
    `${report.metric.name} on test, by the epoch that was best on val`].join(" \u00b7 ");
}

function verdictSection(report) {
  const signs = { loss: "\u25bc", gain: "\u25b2", silence: "?" };
  const node = section("verdict", "Verdict", el("ul", { class: "verdict" },
    report.verdict.map(({ kind, text }) => el("li", { class: kind },
      el("span", { class: "sign", "aria-hidden": "true" }, signs[kind]), el("span", {}, unbroken(text))))));
  if (report.missing.length > 0) {
    const name = ({ label, seed, reason }) =>
      `${label}${seed === null ? "" : `, seed ${seed}`} (${reason})`;
    node.append(el("p", { class: "missing", role: "note" },
      `${plural(report.missing.length, "run is", "runs are")} missing: ` +
      `${report.missing.map(name).join("; ")}.`));
  }
}

const report = JSON.parse(document.getElementById("data").textContent);
heading(report);
verdictSection(report);
gapsSection(report);
comparisonSection(report);
curvesSection(report);
gradientsSection(report);
confusionSection(report);
costSection(report);
settingsSection(report);
followColourScheme();
document.querySelector("footer").prepend(el("p", {}, `Written by Unbraid ${report.version}.`));
