// Curves over epochs: one plot for each part (the fused model, each modality), all with one legend,
// one scale and one cursor. uPlot draws; legend, tooltip, keys and tables are here.

const kHeight = 250;
const kRunsShown = 12;  // single runs are drawn from the start up to so many for each method

let charts = 0;
const redrawn = [];  // called when colours change

/** The values of a quantity as the page shows them. */
function scaled(list, share) {
  return share ? list.map((one) => (one === null ? null : 100 * one)) : list;
}

class CurveChart {
  /** `parts`: [{name, title, series}]; `options`: epochs, share, unit, line, marks by method. */
  constructor(report, options) {
    this.report = report;
    this.options = options;
    this.hidden = new Set();
    this.runs = false;
    this.key = `chart${charts++}`;
    this.legend = el("div", { class: "legend", role: "group", "aria-label": "Show or hide" });
    this.panels = el("div", { class: "panels" });
    this.node = el("div", { class: "chart" }, this.legend, this.panels);
    this.plots = [];
    redrawn.push(() => this.plots.forEach(({ plot }) => plot.redraw(false)));
  }

  show(quantity) {
    this.quantity = quantity;
    this.plots.forEach(({ plot }) => plot.destroy());
    this.plots = [];
    this.panels.replaceChildren();
    this.legend.replaceChildren(...this.legendButtons());
    this.range = this.rangeOfAll();
    for (const part of quantity.parts) this.addPanel(part);
  }

  /** Low and high end of all that is drawn, with room above and below. */
  rangeOfAll() {
    let [low, high] = [Infinity, -Infinity];
    const line = this.quantity.line;
    const lists = this.quantity.parts.flatMap((part) => part.series.flatMap((series) =>
      [series.mean, series.low ?? [], series.high ?? []]));
    for (const list of [...lists, line === null || line === undefined ? [] : [line]]) {
      for (const one of list) {
        if (one === null) continue;
        low = Math.min(low, one);
        high = Math.max(high, one);
      }
    }
    if (low > high) [low, high] = [0, 1];
    const room = 0.05 * (high - low || Math.abs(high) || 1);
    const factor = this.quantity.share ? 100 : 1;
    return [factor * (low - room), factor * (high + room)];
  }

  methods() {
    const present = new Set(this.quantity.parts.flatMap((part) =>
      part.series.map((series) => series.method)));
    return [...present].sort((left, right) => left - right);
  }

  legendButtons() {
    const buttons = [];
    const toggles = [];
    const alone = this.methods().filter((m) => this.report.methods[m].trained_alone);
    for (const method of this.methods()) {
      if (!alone.includes(method)) toggles.push([this.report.methods[method].label, [method]]);
    }
    if (alone.length > 0) toggles.push(["trained alone", alone]);
    for (const [name, methods] of toggles) {
      const button = el("button", {
        type: "button", "aria-pressed": String(!this.hidden.has(methods[0])),
        on: { click: () => this.toggle(button, methods) },
      }, swatch(markOf(this.report, methods[0])), name);
      buttons.push(button);
    }
    const most = Math.max(0, ...this.quantity.parts.flatMap((part) =>
      part.series.map((series) => (series.runs ?? []).length)));
    if (most > 0) {
      this.runs = most * this.methods().length <= 4 * kRunsShown;
      const button = el("button", {
        type: "button", class: "runs", "aria-pressed": String(this.runs),
        on: { click: () => this.toggleRuns(button) },
      }, "single runs");
      buttons.push(button);
    }
    return buttons;
  }

  toggle(button, methods) {
    const hide = !this.hidden.has(methods[0]);
    button.setAttribute("aria-pressed", String(!hide));
    for (const method of methods) hide ? this.hidden.add(method) : this.hidden.delete(method);
    this.applyVisibility();
  }

  toggleRuns(button) {
    this.runs = !this.runs;
    button.setAttribute("aria-pressed", String(this.runs));
    this.applyVisibility();
  }

  applyVisibility() {
    for (const { plot, lines } of this.plots) {
      plot.batch(() => lines.forEach((line, i) => plot.setSeries(i + 1, { show: this.shows(line) })));
    }
  }

  shows(line) {
    return !this.hidden.has(line.method) && (line.kind !== "run" || this.runs);
  }

  /** What uPlot draws of a part: means last, so that they lie on top. */
  linesOf(part) {
    const lines = [];
    for (const series of part.series) {
      for (const run of series.runs ?? []) lines.push({ kind: "run", data: run, series });
    }
    for (const series of part.series) {
      if (series.low) {
        lines.push({ kind: "high", data: series.high, series });
        lines.push({ kind: "low", data: series.low, series });
      }
    }
    for (const series of part.series) lines.push({ kind: "mean", data: series.mean, series });
    return lines.map((line) => ({ ...line, method: line.series.method,
      mark: markOf(this.report, line.series.method) }));
  }

  addPanel(part) {
    const title = this.options.titleOf(part);
    const frame = el("div", {
      class: "plot", tabindex: 0, role: "img",
      "aria-label": `${title}: ${this.quantity.name} over epochs. ${this.inWords(part)} ` +
        "Arrow keys read the values; a table follows.",
    });
    const live = el("p", { class: "hidden", "aria-live": "polite" });
    const tooltip = el("div", { class: "tooltip", hidden: true });
    this.panels.append(el("figure", {}, el("figcaption", {}, title), frame, live,
      lazyDetails("Values as a table", () => this.tableOf(part, title))));
    const lines = this.linesOf(part);
    const data = [this.epochs(), ...lines.map((line) => scaled(line.data, this.quantity.share))];
    const plot = new uPlot(this.plotOptions(frame, lines, tooltip, part), data, frame);
    plot.over.append(tooltip);
    this.plots.push({ plot, lines });
    new ResizeObserver(() => {
      if (frame.clientWidth > 0 && frame.clientWidth !== plot.width) {
        plot.setSize({ width: frame.clientWidth, height: kHeight });
      }
    }).observe(frame);
    frame.addEventListener("keydown", (event) => this.onKey(event, plot, part, live));
    frame.addEventListener("blur", () => plot.setCursor({ left: -10, top: -10 }));
  }

  epochs() {
    return this.quantity.epochs ?? this.options.epochs;
  }

  plotOptions(frame, lines, tooltip, part) {
    const font = "12px " + getComputedStyle(document.body).fontFamily;
    const axis = { stroke: () => resolvedColour("--muted"), font, labelFont: font,
      grid: { stroke: () => resolvedColour("--grid"), width: 1 }, ticks: { show: false } };
    const bands = [];
    lines.forEach((line, i) => {
      if (line.kind === "high") {
        bands.push({ series: [i + 1, i + 2], fill: () => resolvedColour(line.mark.colour, 0.16) });
      }
    });
    return {
      width: Math.max(frame.clientWidth, 200),
      height: kHeight,
      padding: [10, 12, 0, 0],
      scales: { x: { time: false, range: (plot, low, high) =>
        (low === high ? [low - 0.5, high + 0.5] : [low, high]) },
      y: { range: () => this.range } },
      axes: [
        { ...axis, label: "epoch", labelSize: 18, size: 28, grid: { show: false },
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] },
        { ...axis, size: 50, values: (plot, list) => list.map((tick) =>
          minus(value(tick, false)) + (this.quantity.share ? "\u202f%" : "")) },
      ],
      series: [{}, ...lines.map((line) => this.lineOptions(line))],
      bands,
      legend: { show: false },
      cursor: {
        y: false, drag: { x: false, y: false, setScale: false }, sync: { key: this.key },
        points: { show: (plot, i) => lines[i - 1].kind === "mean" ? pointOf(lines[i - 1]) : false },
      },
      hooks: {
        setCursor: [(plot) => this.onCursor(plot, frame, tooltip, part)],
        drawAxes: [(plot) => this.drawLine(plot)],
      },
    };
  }

  lineOptions(line) {
    const ratio = window.devicePixelRatio || 1;
    const alpha = { mean: 1, run: 0.35, high: 0, low: 0 }[line.kind];
    const single = line.data.filter((one) => one !== null).length === 1;
    return {
      show: this.shows(line), spanGaps: true,
      stroke: () => (alpha === 0 ? "transparent" : resolvedColour(line.mark.colour, alpha)),
      width: line.kind === "mean" ? 2 : line.kind === "run" ? 1 : 0,
      dash: line.kind === "mean" ? line.mark.dash.map((size) => size * ratio) : [],
      points: { show: single && line.kind === "mean", size: 8,
        fill: () => resolvedColour(line.mark.colour) },
    };
  }

  /** Where the two gradients are equal. */
  drawLine(plot) {
    if (this.quantity.line === null || this.quantity.line === undefined) return;
    const y = plot.valToPos(this.quantity.line, "y", true);
    plot.ctx.save();
    plot.ctx.strokeStyle = resolvedColour("--ink");
    plot.ctx.globalAlpha = 0.6;
    plot.ctx.beginPath();
    plot.ctx.moveTo(plot.bbox.left, y);
    plot.ctx.lineTo(plot.bbox.left + plot.bbox.width, y);
    plot.ctx.stroke();
    plot.ctx.restore();
  }

  /** The values at one epoch, the largest first: [method, text]. */
  valuesAt(part, index) {
    return part.series.filter((series) => !this.hidden.has(series.method) &&
        (series.mean[index] ?? null) !== null)
      .sort((left, right) => right.mean[index] - left.mean[index])
      .map((series) => [series.method, this.valueText(series, index)]);
  }

  valueText(series, index) {
    const share = this.quantity.share;
    const unit = share ? " %" : "";
    const range = series.low && (series.low[index] ?? null) !== null ?
      ` (${minus(value(series.low[index], share))} to ${minus(value(series.high[index], share))})` : "";
    return minus(value(series.mean[index], share)) + unit + range;
  }

  onCursor(plot, frame, tooltip, part) {
    const index = plot.cursor.idx;
    const here = frame.matches(":hover") || frame.matches(":focus");
    tooltip.hidden = index === null || index === undefined || plot.cursor.left < 0 || !here;
    if (tooltip.hidden) return;
    tooltip.replaceChildren(el("p", {}, `Epoch ${this.epochs()[index]}`),
      el("ul", {}, this.valuesAt(part, index).map(([method, text]) => el("li", {},
        swatch(markOf(this.report, method)), el("span", {}, this.report.methods[method].label),
        el("b", {}, text)))));
    const right = plot.cursor.left > plot.over.clientWidth / 2;
    tooltip.style.left = right ? "" : `${plot.cursor.left + 14}px`;
    tooltip.style.right = right ? `${plot.over.clientWidth - plot.cursor.left + 14}px` : "";
  }

  onKey(event, plot, part, live) {
    const last = this.epochs().length - 1;
    const at = plot.cursor.left < 0 ? null : plot.cursor.idx;
    const next = { ArrowRight: at === null ? 0 : Math.min(last, at + 1),
      ArrowLeft: at === null ? last : Math.max(0, at - 1), Home: 0, End: last }[event.key];
    if (event.key === "Escape") {
      plot.setCursor({ left: -10, top: -10 });
    } else if (next !== undefined) {
      event.preventDefault();
      plot.setCursor({ left: plot.valToPos(this.epochs()[next], "x"), top: 10 });
      live.textContent = `Epoch ${this.epochs()[next]}: ` + this.valuesAt(part, next).map(
        ([method, text]) => `${this.report.methods[method].label} ${text}`).join("; ");
    }
  }

  inWords(part) {
    const last = this.epochs().length - 1;
    return `At epoch ${this.epochs()[last]}: ` + part.series.map((series) =>
      `${this.report.methods[series.method].label} ${this.valueText(series, last)}`).join("; ") + ".";
  }

  tableOf(part, title) {
    const columns = [{ name: "Epoch" }, ...part.series.map((series) =>
      ({ name: this.report.methods[series.method].label, class: "number" }))];
    const rows = this.epochs().map((epoch, i) =>
      [String(epoch), ...part.series.map((series) => this.valueText(series, i))]);
    return dataTable(`${title}: ${this.quantity.name}, mean (smallest to largest over the seeds)`,
      columns, rows, { class: "dense" });
  }
}

function pointOf(line) {
  return el("div", { class: "u-cursor-pt", style: { background: `var(${line.mark.colour})`,
    width: "8px", height: "8px", "margin-left": "-4px", "margin-top": "-4px" } });
}

/** Colours follow the scheme; paper is always light. */
function followColourScheme() {
  const redraw = () => redrawn.forEach((draw) => draw());
  const onPaper = (paper) => {
    if (paper) document.documentElement.dataset.theme = "light";
    else delete document.documentElement.dataset.theme;
    redraw();
  };
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.matchMedia("print").addEventListener("change", (event) => onPaper(event.matches));
  window.addEventListener("beforeprint", () => onPaper(true));
  window.addEventListener("afterprint", () => onPaper(false));
}
