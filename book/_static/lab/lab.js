// The selection lab on the page: mouse, touch, keys, controls and the address make a
// state. What is chosen, and where steps lead, comes from rule.js; draw.js shows it.
(() => {
  "use strict";
  const lab = globalThis.QselLab;
  const root = document.getElementById("selection-lab");
  if (!root || !lab?.SCENES || !lab.walk || !lab.drawPanel) return; // the twin stays

  const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const form = root.querySelector("form");
  const part = (name) => root.querySelector(`[data-lab=${name}]`);
  const say = (text) => (part("message").textContent = text);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const most = Number(form.steps.max);

  // --- state and address -----------------------------------------------------------

  // All of it is in the address. points are where the steps begin; what bears the name of
  // a control is that control's value.
  let state;
  let shown; // for each panel its method, and what lab.walk() found

  const named = (key) => lab.SCENES.find((scene) => scene.key === key);

  function begin({ key, method, reference, points, coarseOf }) {
    return {
      scene: key, method, batch: "one", r: reference, draw: 0,
      m1: 0.7, m2: 0.3, rate: 0.05, steps: 0,
      points: points.map(([x, y, fine]) => ({ x, y, fine, coarse: coarseOf[fine] })),
    };
  }

  // In the frame, at thousandths: what is seen is what is linked to.
  function fit(place) {
    const { x, y } = lab.clip(place);
    return { x: Math.round(x * 1000) / 1000 + 0, y: Math.round(y * 1000) / 1000 + 0 };
  }

  function toHash({ points, ...words }) {
    const moved = points.flatMap(({ x, y }, i) => {
      const [x0, y0] = named(words.scene).points[i];
      return x === x0 && y === y0 ? [] : `${i}:${x},${y}`;
    });
    if (moved.length) words.moved = moved.join(";");
    return "#lab?" + Object.entries(words).map((pair) => pair.join("=")).join("&");
  }

  // What cannot be read stays as the scene has it, and the page says so.
  function fromHash(hash) {
    const { moved = "", ...words } = Object.fromEntries(
      new URLSearchParams(hash.slice("#lab?".length))
    );
    const next = begin(named(words.scene) ?? lab.SCENES[0]);
    const below = { r: next.points.length, draw: 1e6 };
    const unread = [];
    for (const [name, text] of Object.entries(words)) {
      let good = Object.hasOwn(below, name) && /^\d{1,6}$/.test(text) && Number(text) < below[name];
      if (Object.hasOwn(next, name) && form[name]) {
        form[name].value = text; // which refuses what it does not offer
        good = form[name].value === text;
      }
      if (good) next[name] = typeof next[name] === "number" ? Number(text) : text;
      else unread.push(`${name}=${text}`);
    }
    if (next.m1 < next.m2) {
      unread.push("m1 < m2");
      [next.m1, next.m2] = [0.7, 0.3];
    }
    for (const text of moved.split(";").filter(Boolean)) {
      const [, i, x, y] = /^(\d+):(-?[\d.]+),(-?[\d.]+)$/.exec(text) ?? [];
      const good = next.points[i] && Number.isFinite(x - y);
      if (good) Object.assign(next.points[i], fit({ x: Number(x), y: Number(y) }));
      else unread.push(text);
    }
    say(unread.length ? `Not understood in the address: ${unread.join(", ")}.` : "");
    return next;
  }

  const store = () => history.replaceState(null, "", toHash(state));

  let resting, playing;

  // first is read aloud before the rest.
  function change(next, first = "") {
    show(next);
    // The address and what is read aloud follow once the hand rests: browsers limit the
    // first, and nobody can listen to every pixel.
    clearTimeout(resting);
    resting = setTimeout(() => {
      store();
      const trace = part("trace").hidden ? "" : part("trace").lastElementChild.textContent;
      part("live").textContent = [first, trace, part("why").textContent].join(" ").trim();
    }, 250);
  }

  // --- showing -----------------------------------------------------------------------

  const panels = () => [...part("panels").children];
  const pointsOf = (panel) => [...panel.querySelector(".lab-points").children];

  function show(next) {
    clearTimeout(playing); // whoever touches the lab stops the steps
    const before = state?.scene;
    state = { ...state, ...next };
    const scene = named(state.scene);
    if (state.scene !== before) {
      part("panels").innerHTML = lab.panels(scene);
      part("legend").innerHTML = lab.legend(scene);
    }

    const both = state.method === "both";
    root.classList.toggle("lab-both", both);
    const methods = both ? ["method1", "method2"] : [state.method];
    shown = methods.map((method) => ({ method, ...lab.walk(state.points, { ...state, method }) }));
    panels().forEach((panel, k) => {
      panel.hidden = !shown[k];
      panel.firstChild.textContent = both ? lab.NAMES[methods[k]] : "";
      if (shown[k]) lab.drawPanel(panel, scene, shown[k], state.rate);
    });
    pointsOf(panels()[0]).forEach((g, i) => {
      g.setAttribute("aria-label", lab.label(scene, shown, i));
    });
    part("why").innerHTML = lab.reasons(scene, shown);
    part("numbers").innerHTML = lab.tables(shown);
    const trace = part("trace");
    trace.hidden = !state.steps || !shown[0].loss;
    if (!trace.hidden)
      [trace.firstElementChild.innerHTML, trace.lastElementChild.textContent] = lab.trace(shown, most);

    for (const name of Object.keys(state)) if (form[name]) form[name].value = state[name];
    for (const value of form.querySelectorAll("label span"))
      value.textContent = state[value.previousElementSibling.name];
    form.redraw.disabled = state.method === "method1";
    form.steps.disabled = !shown[0].loss;
    form.play.disabled = !shown[0].loss || state.steps === most;
  }

  // --- mouse, touch, keys ------------------------------------------------------------

  // Points are moved, and chosen as R, where panel k shows them: steps begin anew there.
  const here = (k) => shown[k].points.map((p) => ({ ...p, ...fit(p) }));
  const choose = (k, i) => change({ points: here(k), steps: 0, r: i });
  function move(k, i, to, first) {
    const points = here(k);
    Object.assign(points[i], fit(to));
    change({ points, steps: 0 }, first);
  }

  const area = part("panels");
  const group = (event) => event.target.closest(".lab-points > g");
  let drag = null;
  area.addEventListener("pointerdown", (event) => {
    if (!group(event) || event.button) return;
    const svg = event.target.closest("svg");
    const k = panels().indexOf(svg.parentNode);
    const start = lab.place(svg, event);
    // Where points crowd the nearest one is meant, not the one that was drawn last.
    const far = shown[k].points.map((p) => lab.apart(lab.at(p), lab.at(start)));
    const i = far.indexOf(Math.min(...far));
    drag = { svg, k, i, start, from: shown[k].points[i], moved: false };
    svg.setPointerCapture(event.pointerId);
    pointsOf(panels()[0])[i].focus({ preventScroll: true });
    event.preventDefault();
  });
  area.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const { svg, k, i, start, from } = drag;
    const { x, y } = lab.place(svg, event);
    drag.moved ||= lab.apart(lab.at({ x, y }), lab.at(start)) > 4; // a click may tremble
    if (drag.moved) move(k, i, { x: from.x + x - start.x, y: from.y + y - start.y });
  });
  area.addEventListener("pointerup", () => {
    if (drag && !drag.moved) choose(drag.k, drag.i);
    drag = null;
  });
  area.addEventListener("pointercancel", () => (drag = null));
  // A finger on a point moves it; elsewhere it scrolls the page.
  const hold = (event) => group(event) && event.preventDefault();
  area.addEventListener("touchstart", hold, { passive: false });

  area.addEventListener("keydown", (event) => {
    const g = group(event);
    if (!g || event.ctrlKey || event.metaKey || event.altKey) return;
    const i = [...g.parentNode.children].indexOf(g);
    if (event.key === "Enter" || event.key === " ") choose(0, i);
    else if (KEYS[event.key]) {
      const [dx, dy] = KEYS[event.key].map((d) => d * (event.shiftKey ? 0.25 : 0.05));
      const { x, y } = shown[0].points[i];
      const to = fit({ x: x + dx, y: y + dy });
      move(0, i, to, `At ${to.x.toFixed(2)}, ${to.y.toFixed(2)}.`);
    } else return;
    event.preventDefault();
    event.stopPropagation(); // the theme may turn pages with arrow keys
  });

  // --- controls ----------------------------------------------------------------------

  // A step at a time, for the eye; at once where motion is not wanted.
  function play(count) {
    const steps = Math.min(state.steps + (calm.matches ? count : 1), most);
    change({ steps });
    if (count > 1 && !calm.matches && steps < most) playing = setTimeout(play, 140, count - 1);
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target: { name, type, value } }) => {
    if (name === "scene") return change(begin(named(value)));
    const next = { [name]: type === "range" ? Number(value) : value };
    if (next.m1 < state.m2) next.m2 = next.m1; // never m₁ < m₂
    if (next.m2 > state.m1) next.m1 = next.m2;
    change(next);
  });
  form.redraw.addEventListener("click", () => change({ draw: (state.draw + 1) % 1e6 }));
  form.play.addEventListener("click", () => play(10));
  form.reset.addEventListener("click", () => change(begin(named(state.scene))));
  form.copy.addEventListener("click", async () => {
    store();
    try {
      await navigator.clipboard.writeText(location.href);
      say("Copied.");
    } catch {
      say("Copy the address of this page: it holds all that you see.");
    }
  });
  form.full.hidden = !document.fullscreenEnabled;
  form.full.addEventListener("click", () =>
    document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()
  );
  root.addEventListener("fullscreenchange", () => {
    form.full.textContent = document.fullscreenElement ? "Leave full screen" : "Full screen";
  });

  // First on the page, else the Tab key passes the whole side bar on its way.
  const skip = document.createElement("a");
  skip.className = "lab-skip";
  skip.href = "#selection-lab";
  skip.textContent = "Skip to the points of the lab";
  skip.addEventListener("click", (event) => {
    event.preventDefault(); // the address holds the state
    pointsOf(panels()[0])[0].focus();
  });
  document.body.prepend(skip);

  function arrive() {
    if (!location.hash.startsWith("#lab?")) return;
    change(fromHash(location.hash));
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
})();
