// Numbers and names as text. An estimate is [mean, half width or null, count], or null.

const kNone = "\u2013";

function value(number, share) {
  if (number === null || number === undefined) return kNone;
  if (share) return (100 * number).toFixed(1);
  const size = Math.abs(number);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return number.toExponential(2);
  return size >= 100 ? number.toFixed(0) : String(Number(number.toPrecision(4)));
}

function minus(text) {
  return text.replace(/^-/, "\u2212");
}

/** Places after the point that show two digits of `half`; null where that is no good measure. */
function placesOf(half) {
  if (!(half > 0)) return null;
  const places = Math.max(0, 1 - Math.floor(Math.log10(half)));
  return places > 6 ? null : places;
}

function estimateText(estimate, share, { signed = false, digits = null } = {}) {
  if (!estimate) return kNone;
  const [mean, half] = estimate;
  const places = digits ?? (share ? (half > 0 && half < 0.001 ? 2 : 1) : placesOf(half));
  const show = (number) => {
    const scaled = share ? 100 * number : number;
    return places === null ? value(number, false) : scaled.toFixed(places);
  };
  const sign = signed && mean > 0 ? "+" : "";
  return sign + minus(show(mean)) + (half === null ? "" : ` \u00b1 ${show(half)}`);
}

/** Whether the interval leaves out zero: "better", "worse" or "open". */
function standing(difference, smallerIsBetter) {
  // An interval without width is one of equal values, which says nothing of chance.
  if (!difference || !(difference[1] > 1e-9 * Math.abs(difference[0])) ||
      Math.abs(difference[0]) <= difference[1]) {
    return "open";
  }
  return (difference[0] > 0) !== smallerIsBetter ? "better" : "worse";
}

/** Numbers stay in one line with what belongs to them, and have a proper minus. */
function unbroken(text) {
  return text.replace(/ (?=[%\u00b1])|(?<=\u00b1) /g, "\u00a0").replace(/ -(?=\d)/g, " \u2212");
}

function listed(names) {
  return names.length < 2 ? names.join("") :
    `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}

function plural(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** About `count` round numbers from low to high. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const list = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; ++i) {
    list.push(Number((i * step).toPrecision(12)));
  }
  return list;
}
