// The drawing of the selection lab: what lab.js hands over, as SVG, sentences and tables.
globalThis.QselLab ??= {};
(() => {
  "use strict";
  const lab = QselLab;
  const SCALE = 70; // units of the drawing for one of the plane
  const ARROW = 5; // steps
  const SHAPES = [
    // A marker for each fine class within its coarse class, in the order of figures.py.
    "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0z",
    "M-5.5-5.5h11v11h-11z",
    "M0-7L6.5 5.5h-13z",
  ];
  const ROLES = ["R", "P⁺", "P⁻", "N"];
  const NAMES = { random: "Random", method1: "Method 1", method2: "Method 2" };

  const { left, right, bottom, top } = lab.FRAME;
  const [X, Y, WIDTH, HEIGHT] = [left, -top, right - left, top - bottom].map((v) => v * SCALE);
  const at = ({ x, y }) => [SCALE * x, -SCALE * y];
  const apart = ([x, y], [u, v]) => Math.hypot(x - u, y - v);
  const line = ([x, y], [u, v], name) =>
    `<line class="lab-${name}" x1="${x}" y1="${y}" x2="${u}" y2="${v}"/>`;
  const circle = ([x, y], r, name) => `<circle class="lab-${name}" cx="${x}" cy="${y}" r="${r}"/>`;
  const text = ([x, y], words, name) => `<text class="lab-${name}" x="${x}" y="${y}">${words}</text>`;
  const marker = ({ coarseOf }, fine) => {
    const rank = coarseOf.slice(0, fine).filter((c) => c === coarseOf[fine]).length;
    return `<path class="lab-marker lab-colour-${coarseOf[fine]}" d="${SHAPES[rank]}"/>`;
  };
  const two = (value) => value.toFixed(2);
  const three = (value) => value.toFixed(3);

  // Where on the plane a pointer is.
  function place(svg, { clientX, clientY }) {
    const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(svg.getScreenCTM().inverse());
    return { x: x / SCALE, y: -y / SCALE };
  }

  // What stays while a scene stays. Keys reach the points of the first panel alone: the
  // second has the same points, and what differs is said in words and numbers.
  function panels(scene) {
    let grid = "";
    for (const k of [-2, -1, 0, 1, 2]) {
      const [x, y] = at({ x: k, y: k });
      grid += line([x, Y], [x, Y + HEIGHT], "grid") + line([X, y], [X + WIDTH, y], "grid");
      grid += text([x + 3, Y + HEIGHT - 4], k, "tick") + text([X + 3, y - 3], k, "tick");
    }
    const head = `<marker id="lab-head" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="5"
      markerHeight="5" orient="auto"><path d="M0 0L6 3L0 6z"/></marker>`;
    const panel = (ofFigure, ofPoint, once = "") => {
      const point = ([, , fine]) => `<g ${ofPoint}><circle r="17"/>${marker(scene, fine)}</g>`;
      return `<div><b></b>
        <svg viewBox="${X} ${Y} ${WIDTH} ${HEIGHT}" ${ofFigure}>
          ${once}${grid}<g class="lab-back"></g>
          <g class="lab-points">${scene.points.map(point).join("")}</g>
          <g class="lab-front"></g>
        </svg></div>`;
    };
    const spoken = `role="application" aria-label="Points in the plane. Tab goes from point
      to point, arrow keys move a point, Enter makes it the reference."`;
    return panel(spoken, 'tabindex="0" role="button"', head) + panel('aria-hidden="true"', "");
  }

  function legend(scene) {
    const icon = (fine) => `<svg viewBox="-8 -8 16 16" aria-hidden="true">${marker(scene, fine)}</svg>`;
    const names = scene.fineNames.map((name, fine) => `<li>${icon(fine)} ${name}</li>`);
    return names.join("") + "<li>hollow: excluded</li><li>arrows: down the gradient</li>";
  }

  // {R, P⁺, P⁻, N or "excluded"} of the points that are one of them.
  function roles({ q, own }) {
    if (!own) return new Map([[q.reference, "R"]]);
    const out = [...q.pp.excluded, ...q.pn.excluded].map((i) => [i, "excluded"]);
    return new Map([...lab.indices(q).map((i, k) => [i, ROLES[k]]), ...out]);
  }

  function drawPanel(panel, scene, { method, points, q, own, loss }, rate) {
    const places = points.map(at);
    const named = roles({ q, own });
    let back = "";
    if (own) {
      const [r, pp, pn, n] = lab.indices(q).map((i) => places[i]);
      const start = (p) => (method === "method1" && !p.fallback ? n : r);
      back = circle(r, apart(r, n), "sphere") + line(r, n, "radius");
      back += line(start(q.pp), pp, "measure") + line(start(q.pn), pn, "measure");
    }
    let front = "";
    loss?.gradient.forEach(([gx, gy], i) => {
      const { x, y } = points[i];
      const end = at({ x: x - ARROW * rate * gx, y: y - ARROW * rate * gy });
      if (apart(places[i], end) > 8) front += line(places[i], end, "arrow");
    });
    named.forEach((role, i) => {
      if (role === "excluded") return;
      const [x, y] = places[i];
      // The name goes to that one of eight sides where most room is.
      const sides = [0, 1, 2, 3, 4, 5, 6, 7].map((k) => {
        const [u, v] = [x + 22 * Math.cos((k * Math.PI) / 4), y + 22 * Math.sin((k * Math.PI) / 4)];
        return [u, v, Math.min(...places.map((p, j) => (j === i ? 99 : apart(p, [u, v]))))];
      });
      const [u, v] = sides.reduce((a, b) => (b[2] > a[2] + 1 ? b : a));
      front += circle([x, y], 11, "ring") + text([u, v + 5], role, "role");
    });
    panel.querySelector(".lab-back").innerHTML = back;
    panel.querySelector(".lab-front").innerHTML = front;
    [...panel.querySelector(".lab-points").children].forEach((g, i) => {
      g.setAttribute("transform", `translate(${places[i]})`);
      g.classList.toggle("lab-excluded", named.get(i) === "excluded");
    });
    panel.dataset.chosen = own ? lab.indices(q).join(" ") : q.reference; // for the tests
  }

  // Why these were chosen, a list for each panel.
  function reasons(scene, shown) {
    const reason = ([role, words]) => `<div><dt>${role}:</dt> <dd>${words}</dd></div> `;
    return shown
      .map(({ method, points, q }) => {
        const why = lab.explain(points, scene.fineNames, method, q).map(reason);
        const name = shown.length > 1 ? `<dt>${NAMES[method]}.</dt>` : "";
        return `<dl>${name} ${why.join("")}</dl>`;
      })
      .join("");
  }

  // What is read aloud at a point: its class, what it is under each rule, and its place.
  function label(scene, shown, i) {
    const { x, y, fine } = shown[0].points[i];
    const all = shown.map((one) => {
      const role = roles(one).get(i);
      return role && shown.length > 1 ? `${role} by ${NAMES[one.method]}` : role;
    });
    const words = [...all.filter(Boolean), `${scene.fineNames[fine]}, point ${i}`];
    return `${words.join(", ")}, at ${two(x)}, ${two(y)}`;
  }

  // Equation (6) over the steps, a line for each panel, and the same in words.
  function trace(shown, most) {
    const highest = Math.max(...shown.flatMap((one) => one.trace)) || 1;
    const corner = [40, 125];
    const spot = (value, step) => [40 + (step / most) * 326, 125 - (value / highest) * 112];
    const curve = (one, k) => `<polyline class="lab-curve-${k}" points="${one.trace.map(spot).join(" ")}"/>`;
    const drawing = [
      line(corner, [366, 125], "axis"), line(corner, [40, 13], "axis"),
      text([4, 129], 0, "tick"), text([4, 17], two(highest), "tick"),
      text([40, 141], "step 0", "tick"), text([354, 141], most, "tick"),
      ...shown.map(curve),
    ].join("");
    const words = shown.map((one, k) => {
      const who = shown.length > 1 ? `${NAMES[one.method]} (${["solid", "dashed"][k]}) ` : "";
      return `${who}from ${three(one.trace[0])} to ${three(one.trace.at(-1))}`;
    });
    const steps = shown[0].trace.length - 1;
    return [drawing, `(6) over ${steps} step${steps > 1 ? "s" : ""}: ${words.join("; ")}.`];
  }

  // All numbers, with a column for each panel.
  function tables(shown) {
    const heads = shown.map(({ method }) => `<th scope="col">${NAMES[method]}</th>`).join("");
    const table = (title, losses, rows) => {
      const body = rows.map(([name, value]) => {
        const cells = losses.map((found) => `<td>${found ? value(found) : "–"}</td>`);
        return `<tr><th scope="row">${name}</th>${cells.join("")}</tr>`;
      });
      return `<table><thead><tr><th scope="col">${title}</th>${heads}</tr></thead>
        <tbody>${body.join("")}</tbody></table>`;
    };
    const order = ({ distances: [d] }) =>
      [0, 1, 2].sort((a, b) => d[a] - d[b]).map((k) => ROLES[k + 1]).join(" ");
    const quadruplet = [
      ["D(R, P⁺)", ({ distances }) => two(distances[0][0])],
      ["D(R, P⁻)", ({ distances }) => two(distances[0][1])],
      ["D(R, N)", ({ distances }) => two(distances[0][2])],
      ["nearest first (wanted P⁺ P⁻ N)", order],
      ["[1 − D(R, P⁻) / (D(R, P⁺) + m₁ − m₂)]₊", ({ hinges }) => three(hinges[0][0])],
      ["[1 − D(R, N) / (D(R, P⁻) + m₂)]₊", ({ hinges }) => three(hinges[0][1])],
      ["<b>(5)</b>, the sum of these two", ({ joint }) => three(joint)],
    ];
    const batch = [
      ["sum of (5)", ({ joint }) => three(joint)],
      ["three variances", ({ variances: [a, b, c] }) => three(a + b + c)],
      ["[μ(P⁺) − μ(P⁻) + m₁ − m₂]₊", ({ gaps }) => three(gaps[0])],
      ["[μ(P⁻) − μ(N) + m₂]₊", ({ gaps }) => three(gaps[1])],
      ["<b>(3)</b>, the sum of these three", ({ global }) => three(global)],
      ["<b>(6)</b>, sum of (5) plus (3)", ({ combined }) => three(combined)],
    ];
    const size = shown[0].quadruplets.length;
    const title = `The batch: ${size} quadruplet${size === 1 ? "" : "s"}`;
    return (
      table("The quadruplet of R", shown.map(({ own }) => own), quadruplet) +
      table(title, shown.map(({ loss }) => loss), batch)
    );
  }

  Object.assign(QselLab, {
    NAMES, at, apart, place, panels, legend, drawPanel, reasons, label, trace, tables,
  });
})();
