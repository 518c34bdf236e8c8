// Answers cases from stdin with the selection lab's own rules; see test_lab.py.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
for (const name of ["scenes.js", "rule.js"])
  require(join(__dirname, "..", "..", "book", "_static", "lab", name));
const lab = globalThis.QselLab;

function answer({ points, method, references, draws }) {
  const named = points.map(([x, y, fine, coarse]) => ({ x, y, fine, coarse }));
  const quadruplets = references.map((r, b) =>
    lab.selectQuadruplet(named, r, method, draws[b])
  );
  const whole = quadruplets.filter((q) => !q.lacking).map(lab.indices);
  return {
    quadruplets: quadruplets.map((q) => q.lacking ?? lab.indices(q)),
    losses: whole.length ? lab.losses(named, whole) : null,
  };
}

const { cases, explained, seeds } = JSON.parse(readFileSync(0, "utf8"));
const words = ([key, method, reference]) => {
  const { points, fineNames, coarseOf } = lab.SCENES.find((scene) => scene.key === key);
  const named = points.map(([x, y, fine]) => ({ x, y, fine, coarse: coarseOf[fine] }));
  const q = lab.selectQuadruplet(named, reference, method, [0, 0, 0]);
  return Object.fromEntries(lab.explain(named, fineNames, method, q));
};
const draws = Array.from({ length: seeds }, (_, seed) => lab.draws(seed, seed % 20));
process.stdout.write(
  JSON.stringify({ cases: cases.map(answer), words: explained.map(words), draws })
);
