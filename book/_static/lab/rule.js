// The rules and the losses of the selection lab; no page in here. tests/book/test_lab.py holds
// them against qsel.selection and qsel.losses on the same cases.
//
// A classic script that fills one global: browsers refuse modules on file:// pages.
globalThis.QselLab ??= {};
(() => {
  "use strict";

  // The part of the plane that is seen. Points stay off its edge.
  const FRAME = { left: -2.55, right: 2.85, bottom: -2.3, top: 2.5 };
  const EDGE = 0.1;
  const SMALLEST = 2 ** -52; // divides where a distance and its margin are both 0

  function clip({ x, y }) {
    const within = (value, low, high) => Math.min(Math.max(value, low + EDGE), high - EDGE);
    return {
      x: within(x, FRAME.left, FRAME.right),
      y: within(y, FRAME.bottom, FRAME.top),
    };
  }

  // Products, not powers: these round as float64 does everywhere, so ties stay ties.
  function squared(a, b) {
    const [x, y] = [a.x - b.x, a.y - b.y];
    return x * x + y * y;
  }

  // A whole number in 0 … count-1, by a number u in [0, 1).
  const pick = (u, count) => Math.min(Math.floor(u * count), count - 1);

  // Three such numbers for reference i, as qsel draws three: for P⁺, for P⁻ or its class,
  // for N. Steps by an irrational number spread evenly, and a link repeats them.
  function draws(seed, i) {
    const at = (k) => 0.5 + 0.618034 * seed + 0.754878 * i + 0.56984 * k;
    return [0, 1, 2].map((k) => at(k) % 1);
  }

  // The candidate of the lowest score; ties go to the lowest index.
  function best(candidates, score) {
    const better = (i, j) => score(i) - score(j) || i - j;
    const chosen = candidates.reduce((j, i) => (better(i, j) < 0 ? i : j));
    const ties = candidates.filter((i) => score(i) === score(chosen)).length;
    return { chosen, ties };
  }

  // One quadruplet, and how it came about.
  //
  // points: [{x, y, fine, coarse}], labels are numbers. draw: three numbers, see draws.
  // Returns {reference, pp, pn, n}, where pp, pn and n each hold `chosen`, an index, and
  // what explain() needs; or {reference, lacking}: "P⁺", "P⁻" or "N", which has nobody.
  function selectQuadruplet(points, reference, method, draw) {
    const r = points[reference];
    const order = points.map((_, i) => i);
    order.sort(
      (i, j) =>
        points[i].coarse - points[j].coarse || points[i].fine - points[j].fine || i - j
    );
    const own = order.filter((i) => points[i].fine === r.fine && i !== reference);
    let family = order.filter(
      (i) => points[i].coarse === r.coarse && points[i].fine !== r.fine
    );
    const strangers = order.filter((i) => points[i].coarse !== r.coarse);
    const partners = [["P⁺", own], ["P⁻", family], ["N", strangers]];
    const [lacking] = partners.find(([, found]) => !found.length) ?? [];
    if (lacking) return { reference, lacking };

    if (method === "random") {
      const [pp, pn, n] = [own, family, strangers].map((candidates, k) => ({
        chosen: candidates[pick(draw[k], candidates.length)],
        candidates,
        excluded: [],
      }));
      return { reference, pp, pn, n };
    }

    const fromR = (i) => squared(points[i], r);
    const n = { candidates: strangers, ...best(strangers, fromR) };
    const fromN = (i) => squared(points[i], points[n.chosen]);
    const radius = fromR(n.chosen);

    const siblings = [...new Set(family.map((i) => points[i].fine))]; // in order
    let notDrawn = [];
    if (method === "method2") {
      const drawn = siblings[pick(draw[1], siblings.length)];
      notDrawn = family.filter((i) => points[i].fine !== drawn);
      family = family.filter((i) => points[i].fine === drawn);
    }
    const choose = (candidates) => {
      const outside = candidates.filter((i) => fromR(i) > radius);
      const inside = candidates.filter((i) => fromR(i) <= radius);
      const onIt = inside.some((i) => fromR(i) === radius); // on the circle: not outside
      const fallback = !outside.length;
      const found = fallback
        ? best(inside, (i) => -fromR(i)) // the furthest from R
        : best(outside, method === "method1" ? fromN : fromR);
      const excluded = fallback ? [] : inside;
      return { candidates, outside, excluded, fallback, onIt, ...found };
    };
    const pn = choose(family);
    pn.excluded = [...pn.excluded, ...notDrawn];
    return { reference, pp: choose(own), pn: { ...pn, siblings }, n };
  }

  const indices = (q) => [q.reference, q.pp.chosen, q.pn.chosen, q.n.chosen];

  // Equations (5), (3) and (6) over a batch, without the class scores, and the gradient
  // of (6) with respect to every point.
  //
  // quadruplets: [[R, P⁺, P⁻, N]]; m1 and m2 are the margins of both losses. joint is the
  // sum of (5), as in (6). Variances are biased, so those of a single quadruplet are 0.
  function losses(points, quadruplets, m1, m2) {
    const size = quadruplets.length;
    const sum = (values) => values.reduce((a, b) => a + b, 0);
    const mean = (values) => sum(values) / size;
    const hinge = (z) => Math.max(0, z);
    const distances = quadruplets.map(([r, ...others]) =>
      others.map((i) => Math.sqrt(squared(points[r], points[i])))
    );
    const below = distances.map(([pp, pn]) =>
      [pp + (m1 - m2), pn + m2].map((d) => Math.max(d, SMALLEST))
    );
    const hinges = distances.map(([, pn, n], b) => [
      hinge(1 - pn / below[b][0]),
      hinge(1 - n / below[b][1]),
    ]);
    const means = [0, 1, 2].map((k) => mean(distances.map((d) => d[k])));
    const variances = means.map((m, k) => mean(distances.map((d) => (d[k] - m) * (d[k] - m))));
    const gaps = [hinge(means[0] - means[1] + (m1 - m2)), hinge(means[1] - means[2] + m2)];
    const joint = sum(hinges.flat());
    const global = sum(variances) + sum(gaps);

    const gradient = points.map(() => [0, 0]);
    const open = gaps.map((gap) => (gap > 0 ? 1 : 0));
    const slopes = [open[0], open[1] - open[0], -open[1]]; // of the gaps, in the means
    quadruplets.forEach(([r, ...others], b) => {
      const [, pn, n] = distances[b];
      const [first, second] = below[b];
      const [fine, coarse] = hinges[b].map((value) => (value > 0 ? 1 : 0));
      const ofJoint = [
        (fine * pn) / (first * first),
        -fine / first + (coarse * n) / (second * second),
        -coarse / second,
      ];
      others.forEach((i, k) => {
        const d = distances[b][k];
        if (d === 0) return; // no direction; torch takes 0 too
        const slope = ofJoint[k] + (2 * (d - means[k]) + slopes[k]) / size; // of (6), in d
        ["x", "y"].forEach((axis, a) => {
          const unit = (points[r][axis] - points[i][axis]) / d;
          gradient[r][a] += slope * unit;
          gradient[i][a] -= slope * unit;
        });
      });
    });
    const combined = joint + global;
    return { distances, hinges, joint, variances, gaps, global, combined, gradient };
  }

  // So many steps down the gradient of (6); before each the rule chooses, and draws, anew.
  //
  // batch: "one", the quadruplet of point r, or "all", that of every possible reference.
  // Returns where the steps lead: {points, q, own, quadruplets, loss, trace}. q is r's
  // quadruplet, own its losses; quadruplets are the batch, loss its losses; trace is (6)
  // before each step and after the last. An empty batch moves nothing and has no loss.
  function walk(points, { method, r, draw, batch, m1, m2, rate, steps }) {
    const trace = [];
    for (let step = 0; ; step++) {
      const select = (i) => selectQuadruplet(points, i, method, draws(draw + step, i));
      const q = select(r);
      const asked = batch === "one" ? [q] : points.map((_, i) => select(i));
      const quadruplets = asked.filter((other) => !other.lacking).map(indices);
      const loss = quadruplets.length ? losses(points, quadruplets, m1, m2) : null;
      if (loss) trace.push(loss.combined);
      if (!loss || step === steps) {
        const own = q.lacking ? null : losses(points, [indices(q)], m1, m2);
        return { points, q, own, quadruplets, loss, trace };
      }
      points = points.map((p, i) => {
        const [gx, gy] = loss.gradient[i];
        return { ...p, ...clip({ x: p.x - rate * gx, y: p.y - rate * gy }) };
      });
    }
  }

  // Why these? [[role, sentences]] for N, P⁺ and P⁻, or for the one that is lacking.
  function explain(points, names, method, q) {
    const name = (i) => names[points[i].fine];
    const own = name(q.reference);
    const list = (words) => words.join(", ").replace(/, ([^,]*)$/, " and $1");
    const never = "so this point can never be R. It still serves as";
    if (q.lacking === "P⁺")
      return [["P⁺", `${own} has a single point, ${never} P⁻ or N of others.`]];
    if (q.lacking === "P⁻")
      return [["P⁻", `${own} is alone in its coarse class, ${never} N of others.`]];
    if (q.lacking) return [["N", "There is no other coarse class."]];

    const some = (k, what = "") => `${k} ${what}point${k === 1 ? "" : "s"}`;
    const family = [...new Set(q.pn.candidates.map(name))];
    const among = {
      pp: `${some(q.pp.candidates.length, "other ")} of ${own}`,
      pn: `${some(q.pn.candidates.length)} of ${list(family)}`,
      n: `${some(q.n.candidates.length)} of other coarse classes`,
    };
    if (method === "random")
      return [
        ["N", `Drawn from ${among.n}, near or far. The circle only shows its distance.`],
        ["P⁺", `Drawn from ${among.pp}, all with the same chance.`],
        ["P⁻", `Drawn from ${among.pn}, all with the same chance.`],
      ];

    const tied = ({ ties }) =>
      ties > 1 ? ` ${ties} are equally far; the first in the list is taken.` : "";
    const positive = (p, who) => {
      const out = p.outside.length;
      const inside = p.candidates.length - out;
      const where = p.onIt ? "inside or on the circle" : "inside the circle";
      const near = method === "method1" ? "N" : "R";
      let rest = `of the ${out} outside this is the nearest to ${near}`;
      if (out === 1) rest = "this is the only one outside";
      let text = `${inside} ${inside === 1 ? "is" : "are"} ${where} and excluded; ${rest}`;
      if (!inside) text = `none is inside the circle; ${rest}`;
      if (p.fallback)
        text = `none is outside the circle, so the fallback takes the furthest from R`;
      return `Of ${who}, ${text}.${tied(p)}`;
    };
    const [sibling] = family;
    const siblings = list((q.pn.siblings ?? []).map((fine) => names[fine]));
    let drawn = "";
    if (method === "method2")
      drawn = siblings === sibling
        ? `${sibling} is the only sibling class. `
        : `From the sibling classes ${siblings}, ${sibling} was drawn. `;
    return [
      ["N", `The nearest to R of ${among.n}. The circle goes through it.${tied(q.n)}`],
      ["P⁺", positive(q.pp, among.pp)],
      ["P⁻", drawn + positive(q.pn, among.pn)],
    ];
  }

  Object.assign(QselLab, { FRAME, clip, draws, selectQuadruplet, indices, losses, walk, explain });
})();
