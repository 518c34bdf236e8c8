// Answers cases from stdin with the selection lab's own rules; see test_lab.py.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
for (const name of ["scenes.js", "rule.js"])
  require(join(__dirname, "..", "..", "book", "_static", "lab", name));
const lab = globalThis.QselLab;

function answer({ points, method, references, draws, margins }) {
  const named = points.map(([x, y, fine, coarse]) => ({ x, y, fine, coarse }));
  const quadruplets = references.map((r, b) =>
    lab.selectQuadruplet(named, r, method, draws[b])
  );
  const whole = quadruplets.filter((q) => !q.lacking).map(lab.indices);
  return {
    quadruplets: quadruplets.map((q) => q.lacking ?? lab.indices(q)),
    losses: whole.length ? lab.losses(named, whole, ...margins) : null,
  };
}

function points(key) {
  const { points, coarseOf } = lab.SCENES.find((scene) => scene.key === key);
  return points.map(([x, y, fine]) => ({ x, y, fine, coarse: coarseOf[fine] }));
}

function words([key, method, reference]) {
  const { fineNames } = lab.SCENES.find((scene) => scene.key === key);
  const q = lab.selectQuadruplet(points(key), reference, method, [0, 0, 0]);
  return Object.fromEntries(lab.explain(points(key), fineNames, method, q));
}

function walk({ scene, ...settings }) {
  const { points: reached, trace } = lab.walk(points(scene), settings);
  return { reached: reached.map(({ x, y }) => [x, y]), trace };
}

const { cases, explained, walks, seeds } = JSON.parse(readFileSync(0, "utf8"));
const draws = Array.from({ length: seeds }, (_, seed) =>
  Array.from({ length: 25 }, (_, i) => lab.draws(seed, i))
);
process.stdout.write(
  JSON.stringify({
    cases: cases.map(answer),
    words: explained.map(words),
    walks: walks.map(walk),
    draws, // [seed][reference][k]
  })
);
