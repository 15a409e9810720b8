// Run folders as `unbraid compare` leaves them, made up: for what they show, not for how they came.
"use strict";
const fs = require("fs");
const path = require("path");

/** A generator of numbers in [0, 1) that gives the same ones in every run (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** What each kind of run reaches in the end: fused, and each modality alone. */
const kLevels = {
  "alone-audio": { audio: 0.865 },
  "alone-visual": { visual: 0.824 },
  joint: { fused: 0.861, audio: 0.53, visual: 0.505 },
  auxiliary: { fused: 0.902, audio: 0.833, visual: 0.808 },
  dgl: { fused: 0.921, audio: 0.858, visual: 0.829 },
  "ogm-ge": { fused: 0.865, audio: 0.58, visual: 0.56 },
};

function recipe(kind, seed, classes, epochs) {
  const alone = kind.startsWith("alone-");
  const method = alone ? `type = "unimodal"\nmodality = "${kind.slice(6)}"` :
    `type = "${kind}"` + (kind === "dgl" ? "\nalpha = 4.0" : "");
  const names = Array.isArray(classes) ? `[${classes.map((one) => JSON.stringify(one)).join(", ")}]` :
    classes;
  return `seed = ${seed}\ndevice = "cpu"\nprecision = "fp32"\n\n[data]\nsource = "avdigits"\n` +
    `batch_size = 64\n\n[task]\ntype = "classification"\nclasses = ${names}\n\n[method]\n${method}\n` +
    `\n[train]\nepochs = ${epochs}\n`;
}

function confusion(count, share, draw) {
  return Array.from({ length: count }, (_, i) => {
    const row = new Array(count).fill(0);
    for (let sample = 0; sample < 50; ++sample) {
      ++row[draw() < share ? i : (i + 1 + Math.floor(draw() * draw() * (count - 1))) % count];
    }
    return row;
  });
}

/** Writes one finished run. */
function writeRun(folder, kind, seed, { epochs = 25, classes = 10, probes = true, spread = 0.02,
  levels = kLevels[kind] } = {}) {
  const draw = random(seed * 7919 + [...kind].reduce((sum, one) => sum + one.charCodeAt(0), 0));
  const count = Array.isArray(classes) ? classes.length : classes;
  const noise = () => spread * (draw() + draw() - 1);
  const final = Object.fromEntries(Object.entries(levels).map(([name, level]) =>
    [name, level + noise()]));
  const modalities = Object.keys(final).filter((name) => name !== "fused");
  const fused = final.fused ?? final[modalities[0]];
  const scores = (progress) => {
    const at = (level) => level * (1 - Math.exp(-4 * progress)) + 0.1 * Math.exp(-4 * progress) +
      noise() / 2;
    const alone = Object.fromEntries(modalities.map((name) => [name, at(final[name])]));
    return { loss: 2.5 * (1 - at(fused)), accuracy: at(fused), macro_f1: at(fused) - 0.01,
      loss_alone: Object.fromEntries(modalities.map((name) => [name, 2.5 * (1 - alone[name])])),
      accuracy_alone: alone,
      macro_f1_alone: Object.fromEntries(modalities.map((name) => [name, alone[name] - 0.01])) };
  };
  fs.mkdirSync(folder, { recursive: true });
  const lines = [];
  const probed = [];
  let best;
  for (let epoch = 1; epoch <= epochs; ++epoch) {
    const { loss, loss_alone } = scores(epoch / epochs);
    const norms = Object.fromEntries(modalities.map((name) =>
      [`encoders.${name}`, (kind === "joint" ? 0.4 : 1.6) * (1 + draw() / 4) / Math.sqrt(epoch)]));
    lines.push({ epoch, split: "train", loss: 0.9 * loss, loss_alone,
      gradient_norm: { ...norms, fusion: 1, total: 2 }, lr: 0.4, seconds: 1.7 + draw() / 5,
      samples_per_second: 800 });
    const val = scores(epoch / epochs);
    best = val.accuracy;
    lines.push({ epoch, split: "val", ...val });
    probed.push({ epoch, modalities: Object.fromEntries(modalities.map((name) => [name, {
      feature_ratio: (kind === "joint" ? 0.35 : 0.8) + 0.3 / epoch + noise(),
      feature_cosine: 0.7 + noise(), share_below_one: 0.9 + noise(),
      encoder_ratio: epoch === 1 ? null : 0.5 + noise(), encoder_cosine: 0.6 + noise(),
      closed_form_ratio: 0.4 + noise() }])) });
  }
  const test = scores(2);
  lines.push({ epoch: epochs, split: "test", ...test });
  const text = (list) => list.map((one) => JSON.stringify(one) + "\n").join("");
  fs.writeFileSync(path.join(folder, "metrics.jsonl"), text(lines));
  if (probes && modalities.length > 1) {
    fs.writeFileSync(path.join(folder, "probes.jsonl"), text(probed));
  }
  fs.writeFileSync(path.join(folder, "recipe.toml"), recipe(kind, seed, classes, epochs));
  const matrices = { fused: confusion(count, fused, draw), alone: Object.fromEntries(
    modalities.map((name) => [name, confusion(count, final[name], draw)])) };
  fs.writeFileSync(path.join(folder, "summary.json"), JSON.stringify({
    method: kind.startsWith("alone-") ? "unimodal" : kind, seed, epochs, best_epoch: epochs,
    best_by: "accuracy", best_is: "largest", best_val: best, data_hash: "4f1c9a7702be35d1",
    versions: { unbraid: "0.1.0", libtorch: "1.13.1" },
    machine: { processor: "Some processor", cores: 2, threads: 1, device: "cpu" }, ...test,
    confusion: matrices, peak_rss_mb: 420 + 40 * draw(), quarantined: {},
    step_seconds_median: 0.021 + 0.004 * draw(), loader_wait_fraction: 0.02 * draw() }));
}

/** A comparison of the kinds of kLevels. */
function writeComparison(folder, { seeds = 3, kinds = Object.keys(kLevels), ...options } = {}) {
  for (const kind of kinds) {
    for (let seed = 0; seed < seeds; ++seed) {
      writeRun(path.join(folder, `${kind}-seed${seed}`), kind, seed, options);
    }
  }
}

module.exports = { kLevels, writeRun, writeComparison };
if (require.main === module) writeComparison(process.argv[2], JSON.parse(process.argv[3] ?? "{}"));
