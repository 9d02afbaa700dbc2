// The results as the other parts read them. What repeats is stored once, in the pool.
const { pool, models, results, tables, projections, published, sections, marks, names } = JSON.parse(byId("data").textContent);
const SCALE = 1000;
// The letters of a strip, in order, stand for places from its low to its high end.
const LETTERS = Array.from({ length: 95 }, (_, i) => String.fromCharCode(i + 32)).filter((c) => !"\"\\<".includes(c));
const DIGIT = new Map(LETTERS.map((letter, i) => [letter, i]));
const numberOf = (text) => [...text].reduce((sum, letter) => sum * LETTERS.length + DIGIT.get(letter), 0);

function inParts(flat, size) {
  return Array.from({ length: flat.length / size }, (_, i) => flat.slice(size * i, size * (i + 1)));
}

// A column's entries are [result, best rank, worst rank, group, marks as bits].
for (const table of tables) {
  for (const key of ["summary", "protocol", "options", "sha256"]) table[key] = pool[table[key]];
  for (const column of table.columns) {
    column.table = table;
    column.map_rows = pool[column.map_rows];
    column.name = scoreName(column);
    column.entries = inParts(column.entries, 5).map(([result, best, worst, group, bits]) => ({
      result, column, score: scoreOf(results[result][6], placeOf(results[result][6], column)), model: models[results[result][0]],
      rank: best ? [best, worst] : null, group: pool[group], marks: marks.filter((_, i) => bits & (1 << i)),
    }));
    column.missing = column.missing.map(([label, reason]) => ({ label: pool[label], reason: pool[reason] }));
  }
}

function placeOf(flat, column) {
  return inParts(flat, 4).findIndex(([common]) =>
    pool[common][0] === column.metric && pool[common][1] === column.subset);
}

function scoreOf(flat, number) {
  const [common, ...numbers] = flat.slice(4 * number, 4 * number + 4);
  const [metric, subset, chance, ceiling, n, unit, higher, few] = pool[common];
  const [value, below, above] = numbers.map((one) => one / SCALE);
  return { metric, subset, chance, ceiling, n, unit, higher, few, value, low: value - below, high: value + above };
}

function resultOf(number) {
  const [model, map, steps, environment, annotations, origin, flat, warnings, skipped, strips, wells] = results[number];
  return {
    model: models[model], map: pool[map], steps: pool[steps], environment: pool[environment],
    annotations: pool[annotations], ...pool[origin], warnings: warnings.map((i) => pool[i]), skipped: pool[skipped],
    scores: Array.from({ length: flat.length / 4 }, (_, i) => scoreOf(flat, i)), strips: strips.map(decodeStrip),
    wells: wells < 0 ? null : decodeWells(projections[wells]),
  };
}

// A strip is [what it shows, n, name and value of its ends], then, where there is room, a histogram of all pairs of
// the map, all dots, and those of each end.
function decodeStrip([about, n, ends, others = "", all = "", ...dots]) {
  const [subset, of, value, shown, low, high] = pool[about];
  const places = (text = "") => [...text].map((letter) => low + (DIGIT.get(letter) / (LETTERS.length - 1)) * (high - low));
  const rows = inParts([...ends], 5).map((letters, i) => ({ name: names[numberOf(letters.slice(0, 3))],
    value: numberOf(letters.slice(3)) / SCALE - 1, dots: places(dots[i]) }));
  return { subset, of, value, about: shown, low, high, n, rows, quantiles: places(all),
    others: others ? [...others].map((letter) => DIGIT.get(letter)) : null };
}

// Names of plates and a digit a well, likewise of complexes, then the first and the second coordinates, 0 to 1.
function decodeWells(stored) {
  const [plates, ofPlates, complexes, ofComplexes, before, after] = stored.map((i) => pool[i]);
  const halves = (letters) => {
    const places = [...letters].map((letter) => DIGIT.get(letter) / (LETTERS.length - 1));
    return { x: places.slice(0, places.length / 2), y: places.slice(places.length / 2) };
  };
  return { n: ofPlates.length, groups: [{ of: "plate", names: plates, digits: ofPlates },
    { of: "complex", names: complexes, digits: ofComplexes }],
  stages: [{ name: "before", ...halves(before) }, { name: "after", ...halves(after) }] };
}
