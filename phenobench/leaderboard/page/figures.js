// Figures as SVG, drawn when they are needed. Each says in words what it shows.
const RANGE = { unit: [0, 1], signed: [-1, 1] };
const picture = (width, height, label, ...children) =>
  s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...children);
const hidden = (width, height, ...children) =>
  s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...children);
const inkOf = (section) => (section === "models" ? "ink" : "dim");

// What an axis spans: [0, 1], [-1, 1] where something is negative, up to the largest value for ranks.
function axisOf(scores) {
  const ends = scores.flatMap((score) => [score.low, score.high, score.chance]);
  const most = Math.max(...ends), least = Math.min(...ends);
  if (most > 1) return [0, most];
  return least < 0 ? RANGE.signed : RANGE.unit;
}

const along = ([low, high], from, to) => (value) =>
  Number((from + ((Math.min(high, Math.max(low, value)) - low) / (high - low)) * (to - from)).toFixed(1));

// Value and interval on a line, chance as a tick; words beside it say the same.
function forest(score, axis, section, width = 72) {
  const x = along(axis, 4, width - 4), y = 9, ink = inkOf(section);
  return hidden(width, 18,
    s("line", { x1: 4, x2: width - 4, y1: y, y2: y, class: "axis" }),
    s("line", { x1: x(score.chance), x2: x(score.chance), y1: 2, y2: 16, class: "chance" }),
    s("line", { x1: x(score.low), x2: x(score.high), y1: y, y2: y, class: `${ink} line` }),
    section === "models"
      ? s("circle", { cx: x(score.value), cy: y, r: 3.5, class: ink })
      : s("rect", { x: x(score.value) - 3, y: y - 3, width: 6, height: 6, class: ink }));
}

// Where the items of one row lie, their mean as a bar.
function dotLine(dots, mean, axis, chance, width = 180) {
  const x = along(axis, 4, width - 4), y = 8;
  return hidden(width, 16,
    s("line", { x1: 4, x2: width - 4, y1: y, y2: y, class: "axis" }),
    chance === null ? null : s("line", { x1: x(chance), x2: x(chance), y1: 1, y2: 15, class: "chance" }),
    dots.map((dot) => s("circle", { cx: x(dot), cy: y, r: 2.75, class: "ink faint" })),
    mean === null ? null : s("rect", { x: x(mean) - 1, y: 2, width: 2, height: 12, class: "ink" }));
}

// Recall in tails of growing width; chance is the width of both tails.
function tailWidths(points, width) {
  const height = 210, left = 34, right = width - 12, top = 10, bottom = height - 34;
  const widest = Math.max(...points.map((point) => point.tail));
  const x = along([0, widest], left, right), y = along([0, 1], bottom, top);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((tick) => [
    s("line", { x1: left, x2: right, y1: y(tick), y2: y(tick), class: "axis" }),
    s("text", { x: left - 5, y: y(tick) + 4, "text-anchor": "end" }, `${tick}`)]);
  const path = (key) => points.map((p) => `${x(p.tail)},${y(p.score[key])}`).join(" ");
  const label = points.map((p) => `${p.tail} % tails: ${digits(p.score.value)}, chance ${digits(p.score.chance)}`);
  return picture(width, height, `Recall against tail width. ${label.join("; ")}.`, ticks,
    s("polyline", { points: `${left},${bottom} ${path("chance")}`, class: "chance line" }),
    s("polyline", { points: path("value"), class: "ink line" }),
    points.map((p) => [
      s("line", { x1: x(p.tail), x2: x(p.tail), y1: y(p.score.low), y2: y(p.score.high), class: "ink line" }),
      s("circle", { cx: x(p.tail), cy: y(p.score.value), r: 3.5, class: "ink" }),
      s("text", { x: x(p.tail), y: bottom + 15, "text-anchor": "middle" }, `${p.tail}`)]),
    s("text", { x: right, y: height - 4, "text-anchor": "end" }, "width of each tail, %"));
}

// The density of some values, smoothed; `others` are counts in equal bins over the same axis.
function density(values, others, axis, width, label) {
  const height = 150, left = 18, right = width - 18, top = 8, bottom = height - 32, n = 81;
  const x = along(axis, left, right);
  const grid = Array.from({ length: n }, (_, i) => axis[0] + ((axis[1] - axis[0]) * i) / (n - 1));
  const wide = (axis[1] - axis[0]) / 28;
  const kernel = (at, list, weight) =>
    list.reduce((sum, value, i) => sum + weight(i) * Math.exp(-0.5 * ((at - value) / wide) ** 2), 0);
  const curve = (list, weight) => {
    const heights = grid.map((at) => kernel(at, list, weight));
    const total = heights.reduce((sum, one) => sum + one, 0) || 1;
    return heights.map((one) => one / total);
  };
  const own = curve(values, () => 1);
  const bins = others?.map((_, i) => axis[0] + ((i + 0.5) * (axis[1] - axis[0])) / others.length);
  const rest = others ? curve(bins, (i) => others[i]) : null;
  const most = Math.max(...own, ...(rest ?? []));
  const y = along([0, most], bottom, top);
  const points = (heights) => heights.map((one, i) => `${x(grid[i])},${y(one)}`).join(" ");
  const ticks = [axis[0], (axis[0] + axis[1]) / 2, axis[1]];
  return picture(width, height, label,
    rest ? s("polygon", { points: `${left},${bottom} ${points(rest)} ${right},${bottom}`, class: "dim area" }) : null,
    s("polygon", { points: `${left},${bottom} ${points(own)} ${right},${bottom}`, class: "ink area" }),
    s("line", { x1: left, x2: right, y1: bottom, y2: bottom, class: "axis" }),
    ticks.map((tick) => s("text", { x: x(tick), y: bottom + 15, "text-anchor": "middle" }, minus(`${tick}`))));
}

// Groups differ by colour and by shape; what is in none is small.
const SHAPES = [
  (x, y, r) => `M${x - r},${y}a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0z`,
  (x, y, r) => `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x},${y - r}l${r},${2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x},${y - 1.3 * r}l${1.3 * r},${1.3 * r}l${-1.3 * r},${1.3 * r}l${-1.3 * r},${-1.3 * r}z`,
  (x, y, r) => `M${x},${y + r}l${r},${-2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x - r},${y - 0.4 * r}h${0.6 * r}v${-0.6 * r}h${0.8 * r}v${0.6 * r}h${0.6 * r}v${0.8 * r}`
    + `h${-0.6 * r}v${0.6 * r}h${-0.8 * r}v${-0.6 * r}h${-0.6 * r}z`,
];
const mark = (group, x, y) => (group < 0 ? SHAPES[0](x, y, 1.5) : SHAPES[group](x, y, 3));
const groupClass = (group) => (group < 0 ? "dim faint" : `group${group}`);

// Wells at their two coordinates, by group.
function scatter(stage, group, side) {
  const x = along([0, 1], 6, side - 6), y = along([0, 1], side - 6, 6);
  const own = (number) => [...group.digits].map((digit, i) =>
    ((digit === "." ? -1 : Number(digit)) === number ? mark(number, x(stage.x[i]), y(stage.y[i])) : "")).join("");
  return picture(side, side, `${group.digits.length} treated wells ${stage.name} normalization, by ${group.of}`,
    s("rect", { x: 0.5, y: 0.5, width: side - 1, height: side - 1, class: "frame" }),
    [-1, ...group.names.keys()].map((number) => s("path", { d: own(number), class: groupClass(number) })));
}

const legend = (group) => h("ul", { class: "legend", "aria-label": group.of }, group.names.map((name, number) =>
  h("li", {}, hidden(10, 10, s("path", { d: mark(number, 5, 5), class: groupClass(number) })), name)));
