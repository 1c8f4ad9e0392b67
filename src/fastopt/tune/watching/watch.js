// The page of a running study. Asks the server each second for what has changed, and draws.
// Texts of the study are put in by textContent alone: a name may hold markup.
"use strict";

const PAUSE = 1000; // milliseconds between two questions
const SHOWN = 20; // rows of a table
const MOST_CURVES = 200; // the newest learning curves that are drawn
const VALUED = ["done", "stopped", "infeasible"]; // states of trials that the history shows by value

const trials = new Map(); // by number
let about = null;
let token = "";

const element = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const sign = () => (about.direction === "minimize" ? 1 : -1);

function make(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function format(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (value !== 0 && (Math.abs(value) >= 1e6 || Math.abs(value) < 1e-4)) return value.toExponential(3);
  return String(Number(value.toPrecision(6)));
}

// Drawing

function prepare(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.font = "11px system-ui, sans-serif";
  return { pen, left: 52, right: width - 10, top: 10, bottom: height - 26 };
}

// The axis of values. It is logarithmic if they are positive and far apart. Otherwise values far worse
// than nine in ten of them are drawn at the edge.
function valueScale(values) {
  const ordered = values.map((v) => v * sign()).sort((a, b) => a - b);
  let best = ordered[0];
  let worst = ordered[ordered.length - 1];
  const low = Math.min(best * sign(), worst * sign());
  const high = Math.max(best * sign(), worst * sign());
  const log = low > 0 && high > 50 * low;
  if (!log) {
    const at = 0.9 * (ordered.length - 1);
    const [under, over] = [ordered[Math.floor(at)], ordered[Math.ceil(at)]];
    const most = under + (at % 1) * (over - under);
    const limit = most + 2 * (most - best);
    if (limit > most) worst = Math.min(worst, limit);
  }
  const [from, to] = sign() > 0 ? [best, worst] : [-worst, -best];
  const of = log ? Math.log10 : (v) => v;
  const [a, b] = [of(from), of(to)];
  const share = (v) => (b > a ? Math.min(1.04, Math.max(-0.04, (of(v) - a) / (b - a))) : 0.5);
  const ticks = [];
  if (log) {
    const every = Math.max(1, Math.ceil((b - a) / 5));
    for (let e = Math.ceil(a); e <= b; e += every) ticks.push(10 ** e);
  }
  if (from === to) ticks.push(Number(from.toPrecision(3)));
  else if (ticks.length < 2) {
    ticks.length = 0;
    const rough = (to - from) / 4 || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    for (let i = Math.ceil(from / step); i * step <= to; i++) ticks.push(Number((i * step).toPrecision(12)));
  }
  return { share, ticks };
}

function drawAxes(area, scale, xTicks) {
  const { pen, left, right, top, bottom } = area;
  pen.strokeStyle = colour("--line");
  pen.fillStyle = colour("--faint");
  pen.lineWidth = 1;
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  area.y = (value) => bottom - scale.share(value) * (bottom - top);
  for (const tick of scale.ticks) {
    const y = area.y(tick);
    pen.beginPath();
    pen.moveTo(left, y);
    pen.lineTo(right, y);
    pen.stroke();
    pen.fillText(format(tick), left - 6, y, left - 8);
  }
  pen.textBaseline = "top";
  for (const [place, text] of xTicks) {
    const x = left + place * (right - left);
    pen.textAlign = place < 0.15 ? "left" : place > 0.85 ? "right" : "center";
    pen.fillText(text, x, bottom + 8, (right - left) / xTicks.length);
  }
}

// Whole numbers from the first to the last, which is drawn `last` steps after it.
function countTicks(last, first = 0) {
  const rough = Math.max(1, last / 5);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const ticks = [];
  for (let i = 0; i <= last + first; i += step) {
    if (i >= first) ticks.push([last ? (i - first) / last : 0, String(i)]);
  }
  return ticks;
}

function drawHistory(done, best) {
  const area = prepare(element("history"));
  const { pen, left, right, bottom } = area;
  const last = Math.max(1, ...[...trials.keys()].slice(-1));
  const x = (number) => left + (number / last) * (right - left);
  const values = [...trials.values()].filter((t) => VALUED.includes(t.state)).map((t) => t.value);
  drawAxes(area, valueScale(values.filter((v) => v !== null)), countTicks(last));
  pen.fillStyle = colour("--point");
  for (const trial of trials.values()) {
    if (trial.state === "done") pen.fillRect(x(trial.number) - 2, area.y(trial.value) - 2, 4, 4);
  }
  pen.strokeStyle = colour("--point");
  for (const trial of trials.values()) {
    if (trial.state !== "done" && VALUED.includes(trial.state) && trial.value !== null) {
      pen.strokeRect(x(trial.number) - 2, area.y(trial.value) - 2, 4, 4);
    }
    if (trial.state === "failed") {
      const at = x(trial.number);
      pen.beginPath();
      pen.moveTo(at - 3, bottom - 3);
      pen.lineTo(at + 3, bottom + 3);
      pen.moveTo(at - 3, bottom + 3);
      pen.lineTo(at + 3, bottom - 3);
      pen.stroke();
    }
  }
  pen.strokeStyle = colour("--best");
  pen.lineWidth = 2;
  pen.beginPath();
  let soFar = null;
  for (const trial of done) {
    if (soFar === null) pen.moveTo(x(trial.number), area.y(trial.value));
    if (soFar === null || sign() * trial.value < sign() * soFar) {
      if (soFar !== null) pen.lineTo(x(trial.number), area.y(soFar));
      soFar = trial.value;
      pen.lineTo(x(trial.number), area.y(soFar));
    }
  }
  pen.lineTo(right, area.y(best.value));
  pen.stroke();
}

function drawCurves(best) {
  const drawn = [...trials.values()].filter((t) => t.values.length > 1).slice(-MOST_CURVES);
  element("curve-section").hidden = drawn.length === 0;
  if (drawn.length === 0) return;
  if (best && best.values.length > 1 && !drawn.includes(best)) drawn.push(best);
  const values = drawn.flatMap((t) => t.values).filter((v) => v !== null);
  if (values.length === 0) return;
  const area = prepare(element("curves"));
  const { pen, left, right } = area;
  const last = Math.max(1, ...drawn.map((t) => t.values.length - 1));
  drawAxes(area, valueScale(values), countTicks(last, 1));
  drawn.sort((a, b) => (a === best) - (b === best));
  for (const trial of drawn) {
    pen.strokeStyle = trial === best ? colour("--best") : colour("--point");
    pen.lineWidth = trial === best ? 2.5 : 1;
    pen.globalAlpha = trial === best ? 1 : 0.5;
    pen.setLineDash(trial.state === "stopped" ? [4, 3] : []);
    pen.beginPath();
    trial.values.forEach((value, epoch) => {
      if (value !== null) pen.lineTo(left + (epoch / last) * (right - left), area.y(value));
    });
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

function drawSlices(done, best) {
  const scale = valueScale(done.map((t) => t.value));
  const canvases = element("slices").querySelectorAll("canvas");
  about.parameters.forEach((parameter, j) => {
    const area = prepare(canvases[j]);
    const { pen, left, right } = area;
    drawAxes(area, scale, parameter.ticks);
    pen.fillStyle = colour("--accent");
    done.forEach((trial, i) => {
      if (trial.places[j] === null) return;
      pen.globalAlpha = 0.25 + (0.65 * i) / done.length; // the newer the darker
      pen.fillRect(left + trial.places[j] * (right - left) - 2, area.y(trial.value) - 2, 4, 4);
    });
    pen.globalAlpha = 1;
    if (best.places[j] === null) return;
    pen.fillStyle = colour("--best");
    pen.beginPath();
    pen.arc(left + best.places[j] * (right - left), area.y(best.value), 5, 0, 2 * Math.PI);
    pen.fill();
  });
}

// Tables

function fill(place, header, rows, first) {
  const table = make("table");
  const head = table.createTHead().insertRow();
  for (const cell of header) head.append(make("th", cell));
  const body = table.createTBody();
  rows.forEach((row, i) => {
    const line = body.insertRow();
    if (first && i === 0) line.className = "first";
    for (const cell of row) {
      const made = make("td", format(cell));
      made.title = made.textContent;
      line.append(made);
    }
  });
  place.replaceChildren(rows.length ? table : make("p", "none"));
}

function showBest(best) {
  const place = element("best");
  place.hidden = false;
  const value = make("div");
  value.append(make("strong", format(best.value)), make("span", ` trial ${best.number}`));
  const list = make("dl");
  for (const [name, text] of Object.entries({ ...best.params, ...best.notes })) {
    const pair = make("div");
    pair.append(make("dt", name), make("dd", text));
    list.append(pair);
  }
  place.replaceChildren(value, list);
}

function showTables(done) {
  const names = about.parameters.map((p) => p.name);
  const all = [...trials.values()];
  const running = all.filter((t) => t.state === "running");
  const now = Date.now() / 1000;
  fill(
    element("running"),
    ["trial", "for s", "last value", ...names],
    running.slice(0, SHOWN).map((t) => [
      t.number,
      t.started === null ? "" : Math.max(0, Math.round(now - t.started)),
      t.values.length ? t.values[t.values.length - 1] : "",
      ...names.map((n) => t.params[n] ?? ""),
    ]),
  );
  const ranked = [...done].sort((a, b) => sign() * (a.value - b.value) || a.number - b.number);
  const shown = ranked.slice(0, SHOWN);
  const notes = [...new Set(shown.flatMap((t) => Object.keys(t.notes)))].slice(0, 8);
  fill(
    element("ranked"),
    ["trial", "value", ...names, ...notes, "seconds"],
    shown.map((t) => [
      t.number,
      t.value,
      ...names.map((n) => t.params[n] ?? ""),
      ...notes.map((n) => t.notes[n] ?? ""),
      t.seconds === null ? "" : t.seconds.toFixed(2),
    ]),
    true,
  );
  const reasons = new Map();
  for (const t of all) if (t.state === "failed") reasons.set(t.error, (reasons.get(t.error) || 0) + 1);
  element("failure-section").hidden = reasons.size === 0;
  const counted = [...reasons].sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
  fill(element("failures"), ["trials", "reason"], counted.map(([reason, n]) => [n, reason]));
}

function show() {
  const all = [...trials.values()];
  const states = {};
  for (const trial of all) states[trial.state] = (states[trial.state] || 0) + 1;
  const counts = Object.keys(states).sort().map((state) => `${states[state]} ${state}`);
  element("facts").textContent =
    `${about.about} · ${all.length} trials (${counts.join(", ") || "none"})`;
  const done = all.filter((t) => t.state === "done");
  let best = null;
  for (const t of done) if (best === null || sign() * t.value < sign() * best.value) best = t;
  for (const id of ["history-section", "slice-section"]) element(id).hidden = !best;
  if (best) {
    showBest(best);
    drawHistory(done, best);
    drawSlices(done, best);
  }
  drawCurves(best);
  showTables(done);
}

// Asking

function begin() {
  trials.clear();
  document.title = about.name;
  element("slices").replaceChildren(
    ...about.parameters.map((parameter) => {
      const figure = make("figure");
      const canvas = make("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Value by ${parameter.name}`);
      figure.append(make("figcaption", parameter.name), canvas);
      return figure;
    }),
  );
}

function take(found) {
  if (found.about) {
    about = found.about;
    begin();
  }
  token = found.token;
  let grown = false;
  for (const trial of found.trials) {
    if (trial.state === undefined) trials.delete(trial.number);
    else {
      grown = grown || !trials.has(trial.number);
      trials.set(trial.number, trial);
    }
  }
  if (grown) {
    const ordered = [...trials].sort((a, b) => a[0] - b[0]);
    trials.clear();
    for (const [number, trial] of ordered) trials.set(number, trial);
  }
  return found.about !== undefined || found.trials.length > 0;
}

function tell(text, lost) {
  element("status").textContent = text;
  element("status").className = lost ? "lost" : "";
}

async function ask() {
  try {
    const answer = await fetch(`trials?after=${encodeURIComponent(token)}`);
    if (!answer.ok) throw new Error(await answer.text());
    if (take(await answer.json())) show();
    tell(`as of ${new Date().toLocaleTimeString()}`, false);
  } catch (error) {
    tell(`No answer; trying again. ${error.message}`, true);
  }
  setTimeout(ask, PAUSE);
}

window.addEventListener("resize", () => about && show());
ask();
