// The selection lab on the page: draws the state, and turns mouse, touch, keys and the
// address into a new state. What is chosen, and why, comes from rule.js.
(() => {
  "use strict";
  const lab = globalThis.QselLab;
  const root = document.getElementById("selection-lab");
  if (!root || !lab?.SCENES || !lab.selectQuadruplet) return; // the twin stays

  const [LEFT, RIGHT, BOTTOM, TOP] = [-2.55, 2.85, -2.3, 2.5]; // of the plane that is seen
  const RATE = { one: 0.05, all: 0.5 }; // a mean over many has small gradients
  const ARROW = 5; // steps
  const SHAPES = [
    // A marker for each fine class within its coarse class, in the order of figures.py.
    "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0z",
    "M-5.5-5.5h11v11h-11z",
    "M0-7L6.5 5.5h-13z",
  ];
  const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const form = root.querySelector("form");
  const svg = root.querySelector("svg");
  const part = (name) => root.querySelector(`[data-lab=${name}]`);
  const say = (text) => (part("message").textContent = text);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  // --- state and address -----------------------------------------------------------

  let state; // {scene, method, reference, draw, batch, points}, all of it in the address

  function begin(scene) {
    const points = scene.points.map(([x, y, fine]) => {
      return { x, y, fine, coarse: scene.coarseOf[fine] };
    });
    const { method, reference } = scene;
    return { scene, method, reference, draw: 0, batch: "one", points };
  }

  // Keep a point in the frame, at thousandths: what is seen is what is linked to.
  function fit({ x, y }) {
    const clip = (value, low, high) =>
      Math.round(Math.min(Math.max(value, low + 0.1), high - 0.1) * 1000) / 1000 + 0;
    return { x: clip(x, LEFT, RIGHT), y: clip(y, BOTTOM, TOP) };
  }

  function toHash({ scene, method, reference, draw, batch, points }) {
    const moved = points.flatMap(({ x, y }, i) => {
      const [x0, y0] = scene.points[i];
      return x === x0 && y === y0 ? [] : `${i}:${x},${y}`;
    });
    const words = { scene: scene.key, method, r: reference, draw, batch };
    if (moved.length) words.moved = moved.join(";");
    return "#lab?" + Object.entries(words).map((pair) => pair.join("=")).join("&");
  }

  // What cannot be read stays as the scene has it, and the page says so.
  function fromHash(hash) {
    const words = new URLSearchParams(hash.slice("#lab?".length));
    const unread = [];
    const read = (name, fits, otherwise) => {
      const value = words.get(name) ?? otherwise;
      if (value === otherwise || fits(value)) return value;
      unread.push(`${name}=${value}`);
      return otherwise;
    };
    const below = (most) => (text) => /^\d{1,6}$/.test(text) && Number(text) < most;
    const named = (key) => lab.SCENES.find((scene) => scene.key === key);
    const next = begin(named(read("scene", named, lab.SCENES[0].key)));
    next.method = read("method", (m) => lab.METHODS.includes(m), next.method);
    next.batch = read("batch", (b) => Object.hasOwn(RATE, b), next.batch);
    next.reference = Number(read("r", below(next.points.length), next.reference));
    next.draw = Number(read("draw", below(1e6), 0));
    for (const text of (words.get("moved") ?? "").split(";").filter(Boolean)) {
      const [, i, x, y] = /^(\d+):(-?[\d.]+),(-?[\d.]+)$/.exec(text) ?? [];
      const good = next.points[i] && Number.isFinite(x - y);
      if (good) Object.assign(next.points[i], fit({ x: Number(x), y: Number(y) }));
      else unread.push(text);
    }
    say(unread.length ? `Not understood in the address: ${unread.join(", ")}.` : "");
    return next;
  }

  const store = () => history.replaceState(null, "", toHash(state));

  // The address and what is read aloud follow once the hand rests: browsers limit the
  // first, and nobody can listen to every pixel.
  let rest;
  function settle(first = "") {
    clearTimeout(rest);
    rest = setTimeout(() => {
      store();
      const why = [...part("why").children].map((sentence) => sentence.textContent);
      part("live").textContent = first + why.join(" ");
    }, 250);
  }

  function change(next, first) {
    walking++; // whoever touches the figure ends a walk
    Object.assign(state, next);
    draw();
    settle(first);
  }

  // --- drawing -----------------------------------------------------------------------

  let scale = 60; // pixels for one unit of the plane
  const at = ({ x, y }) => [(x - LEFT) * scale, (TOP - y) * scale];
  const apart = ([x, y], [u, v]) => Math.hypot(x - u, y - v);
  const line = ([x, y], [u, v], name) =>
    `<line class="lab-${name}" x1="${x}" y1="${y}" x2="${u}" y2="${v}"/>`;
  const circle = ([x, y], r, name) => `<circle class="lab-${name}" cx="${x}" cy="${y}" r="${r}"/>`;
  const text = ([x, y], words, name) => `<text class="lab-${name}" x="${x}" y="${y}">${words}</text>`;
  const marker = ({ coarseOf }, fine) => {
    const rank = coarseOf.slice(0, fine).filter((c) => c === coarseOf[fine]).length;
    return `<path class="lab-marker lab-colour-${coarseOf[fine]}" d="${SHAPES[rank]}"/>`;
  };

  // What stays while a scene stays: the points, which keep the focus, and the legend.
  function build({ scene, points }) {
    svg.innerHTML =
      '<marker id="lab-head" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="5" ' +
      'markerHeight="5" orient="auto"><path d="M0 0L6 3L0 6z"/></marker>' +
      ["back", "points", "front"].map((name) => `<g class="lab-${name}"></g>`).join("");
    svg.querySelector(".lab-points").innerHTML = points
      .map(({ fine }) => `<g tabindex="0" role="button"><circle r="17"/>${marker(scene, fine)}</g>`)
      .join("");
    const icon = (fine) => `<svg viewBox="-8 -8 16 16" aria-hidden="true">${marker(scene, fine)}</svg>`;
    part("legend").innerHTML =
      scene.fineNames.map((name, fine) => `<li>${icon(fine)} ${name}</li>`).join("") +
      "<li>hollow: excluded</li><li>arrows: down the gradient</li>";
  }

  const select = (i, method = state.method) =>
    lab.selectQuadruplet(state.points, i, method, lab.draws(state.draw, i));

  function compute() {
    const q = select(state.reference);
    const mine = q.lacking ? [] : [lab.indices(q)];
    const all = state.points.map((_, i) => select(i)).filter((other) => !other.lacking);
    const batch = state.batch === "one" ? mine : all.map(lab.indices);
    const lossOf = (some) => (some.length ? lab.losses(state.points, some) : null);
    return { q, own: lossOf(mine), loss: lossOf(batch), size: batch.length };
  }

  function draw() {
    const { scene, points, reference, method } = state;
    const { q, own, loss, size } = compute();
    const members = own ? lab.indices(q) : [reference];
    const roles = new Map(members.map((i, k) => [i, ["R", "P⁺", "P⁻", "N"][k]]));
    const excluded = own ? [...q.pp.excluded, ...q.pn.excluded] : [];
    const places = points.map(at);

    let back = "";
    for (const k of [-2, -1, 0, 1, 2]) {
      const [x, y] = at({ x: k, y: k });
      const [right, bottom] = at({ x: RIGHT, y: BOTTOM });
      back += line([x, 0], [x, bottom], "grid") + line([0, y], [right, y], "grid");
      back += text([x + 3, bottom - 4], k, "tick") + text([3, y - 3], k, "tick");
    }
    if (own) {
      const [r, , , n] = members.map((i) => places[i]);
      back += circle(r, own.distances[0][2] * scale, "sphere") + line(r, n, "radius");
      for (const p of [q.pp, q.pn]) {
        const start = method === "method1" && !p.fallback ? n : r;
        back += line(start, places[p.chosen], "measure");
      }
    }
    svg.querySelector(".lab-back").innerHTML = back;

    [...svg.querySelector(".lab-points").children].forEach((g, i) => {
      const { x, y, fine } = points[i];
      const out = excluded.includes(i);
      g.setAttribute("transform", `translate(${places[i]})`);
      g.classList.toggle("lab-excluded", out);
      const words = [roles.get(i), `${scene.fineNames[fine]}, point ${i}`, out && "excluded"];
      const where = `${x.toFixed(2)}, ${y.toFixed(2)}`;
      g.setAttribute("aria-label", `${words.filter(Boolean).join(", ")}, at ${where}`);
    });

    let front = "";
    loss?.gradient.forEach(([gx, gy], i) => {
      const reach = ARROW * RATE[state.batch];
      const end = at({ x: points[i].x - reach * gx, y: points[i].y - reach * gy });
      if (apart(places[i], end) > 8) front += line(places[i], end, "arrow");
    });
    roles.forEach((role, i) => {
      const [x, y] = places[i];
      // The name goes to that one of eight sides where most room is.
      const sides = [0, 1, 2, 3, 4, 5, 6, 7].map((k) => {
        const [u, v] = [x + 22 * Math.cos((k * Math.PI) / 4), y + 22 * Math.sin((k * Math.PI) / 4)];
        return [u, v, Math.min(...places.map((p, j) => (j === i ? 99 : apart(p, [u, v]))))];
      });
      const [u, v] = sides.reduce((a, b) => (b[2] > a[2] + 1 ? b : a));
      front += circle([x, y], 11, "ring") + text([u, v + 5], role, "role");
    });
    svg.querySelector(".lab-front").innerHTML = front;

    const why = lab.explain(points, scene.fineNames, method, q);
    part("why").innerHTML =
      why.map(([role, words]) => `<div><dt>${role}:</dt> <dd>${words}</dd></div>`).join("") +
      (own && method !== "random" ? `<div><dd>${compare(q)}</dd></div>` : "");
    part("numbers").innerHTML = numbers(own, loss, size);
    form.scene.value = scene.key;
    form.method.value = method;
    form.batch.value = state.batch;
    form.redraw.disabled = method === "method1";
    form.step.disabled = form.steps.disabled = !loss;
    root.dataset.chosen = members.join(" "); // for the tests
  }

  // What the other method would take, so that one need not go to and fro.
  function compare(q) {
    const other = state.method === "method1" ? "method2" : "method1";
    const theirs = select(state.reference, other);
    const same = (k) => (q[k].chosen === theirs[k].chosen ? "the same" : "another");
    const name = other.replace("method", "Method ");
    return `${name} would take ${same("pp")} P⁺ and ${same("pn")} P⁻.`;
  }

  function numbers(own, loss, size) {
    const [two, three] = [2, 3].map((digits) => (value) => value.toFixed(digits));
    const block = (title, ...rows) => `<p><b>${[`${title}</b>`, ...rows].join("<br>")}</p>`;
    let html = "";
    if (own) {
      const [pp, pn, n] = own.distances[0].map(two);
      const order = ["P⁺", "P⁻", "N"].map((role, k) => [own.distances[0][k], role]);
      const now = order.sort((a, b) => a[0] - b[0]).map(([, role]) => role).join(" &lt; ");
      html += block(
        "Distances from R",
        `P⁺ ${pp}, P⁻ ${pn}, N ${n}`,
        `in order: ${now}`,
        "wanted: P⁺ &lt; P⁻ &lt; N"
      );
      html += block(
        `(5), this R: ${three(own.joint)}`,
        `[1 − ${pn}/(${pp} + 0.4)]₊ = ${three(own.hinges[0][0])}`,
        `[1 − ${n}/(${pn} + 0.3)]₊ = ${three(own.hinges[0][1])}`
      );
    }
    if (!loss) return html;
    const [pp, pn, n] = loss.means.map(two);
    const one = state.batch === "one";
    html += block(
      `(3), ${one ? "this R" : `${size} quadruplets`}: ${three(loss.global)}`,
      `variances ${three(loss.variances.reduce((a, b) => a + b))}`,
      `[${pp} − ${pn} + 0.4]₊ = ${three(loss.gaps[0])}`,
      `[${pn} − ${n} + 0.3]₊ = ${three(loss.gaps[1])}`
    );
    const share = one ? "" : ` / ${size}`;
    const sum = `${three(loss.joint)} + ${three(loss.global)}${share} = ${three(loss.combined)}`;
    const parts = one ? "(6) = (5) + (3)" : `(6)${share} = mean of (5) + (3)${share}`;
    return html + block(`${parts} = ${sum}`);
  }

  // --- steps down the gradient -------------------------------------------------------

  let walking = 0; // the number of the walk under way; a higher one ends it

  function walk(steps) {
    const mine = ++walking;
    const { loss } = compute();
    if (!loss || !steps) return settle();
    const start = state.points;
    const goal = start.map((point, i) => {
      const [gx, gy] = loss.gradient[i].map((slope) => slope * RATE[state.batch]);
      return { ...point, ...fit({ x: point.x - gx, y: point.y - gy }) };
    });
    const began = performance.now();
    requestAnimationFrame(function frame(now) {
      if (mine !== walking) return;
      const share = calm.matches ? 1 : Math.min(Math.max(now - began, 0) / 140, 1);
      const between = (i, axis) => start[i][axis] + share * (goal[i][axis] - start[i][axis]);
      state.points = goal.map((p, i) => {
        return { ...p, ...fit({ x: between(i, "x"), y: between(i, "y") }) };
      });
      draw();
      if (share === 1) walk(steps - 1);
      else requestAnimationFrame(frame);
    });
  }

  // --- mouse, touch, keys ------------------------------------------------------------

  const group = (event) => event.target.closest(".lab-points > g");
  const pointer = ({ clientX, clientY }) => {
    const { left, top } = svg.getBoundingClientRect();
    return [clientX - left, clientY - top];
  };
  function move(i, to, first) {
    const points = state.points.map((p, j) => (j === i ? { ...p, ...fit(to) } : p));
    change({ points }, first);
  }

  let drag = null;
  svg.addEventListener("pointerdown", (event) => {
    if (!group(event) || event.button) return;
    const start = pointer(event);
    // Where points crowd the nearest one is meant, not the one that was drawn last.
    const far = state.points.map((p) => apart(at(p), start));
    const i = far.indexOf(Math.min(...far));
    drag = { i, start, from: state.points[i], moved: false };
    svg.setPointerCapture(event.pointerId);
    svg.querySelector(".lab-points").children[i].focus({ preventScroll: true });
    event.preventDefault();
  });
  svg.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const here = pointer(event);
    drag.moved ||= apart(here, drag.start) > 4; // a click may tremble
    const [dx, dy] = [here[0] - drag.start[0], here[1] - drag.start[1]];
    if (drag.moved) move(drag.i, { x: drag.from.x + dx / scale, y: drag.from.y - dy / scale });
  });
  svg.addEventListener("pointerup", () => {
    if (drag && !drag.moved) change({ reference: drag.i });
    drag = null;
  });
  svg.addEventListener("pointercancel", () => (drag = null));
  // A finger on a point moves it; elsewhere it scrolls the page.
  const hold = (event) => group(event) && event.preventDefault();
  svg.addEventListener("touchstart", hold, { passive: false });

  svg.addEventListener("keydown", (event) => {
    const g = group(event);
    if (!g || event.ctrlKey || event.metaKey || event.altKey) return;
    const i = [...g.parentNode.children].indexOf(g);
    if (event.key === "Enter" || event.key === " ") change({ reference: i });
    else if (KEYS[event.key]) {
      const [dx, dy] = KEYS[event.key].map((d) => d * (event.shiftKey ? 0.25 : 0.05));
      const to = fit({ x: state.points[i].x + dx, y: state.points[i].y + dy });
      move(i, to, `At ${to.x.toFixed(2)}, ${to.y.toFixed(2)}. `);
    } else return;
    event.preventDefault();
    event.stopPropagation(); // the theme may turn pages with arrow keys
  });

  // --- controls ----------------------------------------------------------------------

  function show(next) {
    walking++;
    const rebuild = state?.scene !== next.scene;
    state = next;
    if (rebuild) build(state);
    draw();
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", ({ target: { name, value } }) => {
    if (name === "scene") show(begin(lab.SCENES.find(({ key }) => key === value)));
    change(name === "scene" ? {} : { [name]: value });
  });
  form.redraw.addEventListener("click", () => change({ draw: (state.draw + 1) % 1e6 }));
  form.step.addEventListener("click", () => walk(1));
  form.steps.addEventListener("click", () => walk(10));
  form.reset.addEventListener("click", () => change(begin(state.scene)));
  form.copy.addEventListener("click", async () => {
    store();
    try {
      await navigator.clipboard.writeText(location.href);
      say("Copied.");
    } catch {
      say("Copy the address of this page: it holds all that you see.");
    }
  });

  function arrive() {
    if (!location.hash.startsWith("#lab?")) return;
    show(fromHash(location.hash));
    settle();
    root.scrollIntoView();
  }

  root.hidden = false;
  document.documentElement.classList.add("lab-live"); // from now on the twin is for paper
  form.scene.innerHTML = lab.SCENES.map(
    ({ key, title }) => `<option value="${key}">${title}</option>`
  ).join("");
  show(begin(lab.SCENES[0]));
  arrive();
  addEventListener("hashchange", arrive);
  new ResizeObserver(() => {
    const { width, height } = svg.getBoundingClientRect();
    if (!width) return;
    scale = width / (RIGHT - LEFT);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    draw();
  }).observe(svg);
})();
