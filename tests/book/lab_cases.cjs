// Answers cases from stdin with the selection lab's own rules; see test_lab.py.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
for (const name of ["scenes.js", "rule.js"])
  require(join(__dirname, "..", "..", "book", "_static", "lab", name));
const lab = globalThis.QselLab;

function answer({ points, ...settings }) {
  const named = points.map(([x, y, fine, coarse]) => ({ x, y, fine, coarse }));
  const quadruplets = [];
  let end;
  for (let steps = 0; steps <= settings.steps; steps++) {
    end = lab.walk(named, { ...settings, steps });
    if (end.loss) quadruplets.push(end.quadruplets);
  }
  return { quadruplets, trace: end.trace, reached: end.points.map(({ x, y }) => [x, y]) };
}

function words([key, method, reference]) {
  const { points, fineNames, coarseOf } = lab.SCENES.find((scene) => scene.key === key);
  const named = points.map(([x, y, fine]) => ({ x, y, fine, coarse: coarseOf[fine] }));
  const q = lab.selectQuadruplet(named, reference, method, [0, 0, 0]);
  return Object.fromEntries(lab.explain(named, fineNames, method, q));
}

const { cases, explained, seeds } = JSON.parse(readFileSync(0, "utf8"));
const draws = Array.from({ length: seeds }, (_, seed) =>
  Array.from({ length: 25 }, (_, i) => lab.draws(seed, i))
); // [seed][reference][k]
process.stdout.write(
  JSON.stringify({ cases: cases.map(answer), words: explained.map(words), draws })
);
