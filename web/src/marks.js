// What tells methods apart: a colour and a dash each, the same in every picture.

const kColours = 8;
const kDashes = [[], [9, 4], [2, 3], [10, 3, 2, 3], [5, 3]];

/** Of a method by its place; the reference and modalities trained alone have marks of their own. */
function markOf(report, index) {
  const method = report.methods[index];
  if (method.trained_alone) return { colour: "--alone", dash: [1, 3] };
  if (method.label === report.reference) return { colour: "--reference", dash: [] };
  const place = report.methods.slice(0, index).filter((other) =>
    !other.trained_alone && other.label !== report.reference).length;
  return {
    colour: `--c${place % kColours}`,
    dash: kDashes[(place + Math.floor(place / kColours)) % kDashes.length],
  };
}

function swatch(mark) {
  return svg("svg", { class: "swatch", width: 26, height: 10, "aria-hidden": "true" },
    svg("line", {
      x1: 1, x2: 25, y1: 5, y2: 5, "stroke-dasharray": mark.dash.join(" "),
      style: { stroke: `var(${mark.colour})` },
    }));
}

function resolvedColour(name, alpha = 1) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return alpha === 1 ? text : text + Math.round(255 * alpha).toString(16).padStart(2, "0");
}

/** A scale from values to percent of a track's width. */
class Scale {
  /** Around the means; intervals may widen it to three times that and are cut beyond. */
  constructor(estimates, share) {
    const means = estimates.map((one) => one[0]);
    let low = Math.min(...means);
    let high = Math.max(...means);
    const span = Math.max(high - low, share ? 0.02 : 1e-3 * Math.abs(high), 1e-9);
    low = Math.max(low - span, Math.min(...estimates.map(([mean, half]) => mean - (half ?? 0))));
    high = Math.min(high + span, Math.max(...estimates.map(([mean, half]) => mean + (half ?? 0))));
    const pad = 0.06 * Math.max(high - low, span);
    this.low = share ? Math.max(0, low - pad) : low - pad;
    this.high = share ? Math.min(1, high + pad) : high + pad;
    this.share = share;
  }

  at(number) {
    const percent = 100 * (number - this.low) / (this.high - this.low);
    return `${Math.min(102, Math.max(-2, percent)).toFixed(2)}%`;
  }

  ticks() {
    return ticks(this.low, this.high, 5);
  }

  grid() {
    return this.ticks().map((tick) =>
      svg("line", { class: "grid", x1: this.at(tick), x2: this.at(tick), y1: 0, y2: "100%" }));
  }

  axis() {
    return svg("svg", { class: "track axis", "aria-hidden": "true" }, this.ticks().map((tick) =>
      svg("text", { x: this.at(tick), y: 13, "text-anchor": "middle" },
        this.share ? String(Number((100 * tick).toPrecision(6))) : String(tick))));
  }

  whisker([mean, half], colour) {
    return half === null ? null : svg("line", {
      class: "whisker", x1: this.at(mean - half), x2: this.at(mean + half), y1: "50%", y2: "50%",
      style: { stroke: `var(${colour})` },
    });
  }

  dot([mean], colour) {
    return svg("circle", { class: "dot", cx: this.at(mean), cy: "50%", r: 5.5,
      style: { fill: `var(${colour})` } });
  }

  track(...marks) {
    return svg("svg", { class: "track", "aria-hidden": "true" }, this.grid(), ...marks);
  }
}
