// The page of a preference study. The server holds all state; this shows it and sends each answer at once.
"use strict";

const PAUSE = 450;   // ms for which the answer is shown before the next pair comes
const DRIFT = 0.15;  // s by which the two videos may come apart
const KEYS = { ArrowLeft: "1", 1: "1", ArrowRight: "2", 2: "2", ArrowDown: "tie", ArrowUp: "tie", 0: "tie", t: "tie" };

const $ = (id) => document.getElementById(id);
const videos = [...document.querySelectorAll("video")];
const figures = [...document.querySelectorAll("figure")];

let rater = sessionStorage.getItem("rater");
let task = null;      // what is on the screen
let upcoming = null;  // the state that follows once the answer has been seen
let timer = 0;
let busy = false;
let paused = false;
let loaded = [];      // of each video: "", "ready" or "broken"

async function call(action, more = {}) {
  if (busy) return;
  busy = true;
  try {
    const answer = await fetch(`/api/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ rater, ...more }),
    });
    const body = await answer.json();
    tell(answer.ok ? "" : body.error);
    return answer.ok || answer.status === 409 ? { ...body, refused: !answer.ok } : null;
  } catch {
    tell("The server does not answer. Your last answer may not be saved: try it again once the page's server runs.");
    return null;
  } finally {
    busy = false;
    refresh();
  }
}

function tell(message) {
  $("alert").textContent = message;
  $("alert").hidden = !message;
}

function screen(name) {
  for (const id of ["enter", "judge", "done"]) $(id).hidden = id !== name;
}

function show(state) {
  clearTimeout(timer);
  upcoming = null;
  const same = task && state.task && task.task === state.task.task;
  task = state.task;
  $("back").disabled = !state.can_undo;
  $("done-back").hidden = !state.can_undo;
  if (!task) {
    videos.forEach((video) => video.removeAttribute("src"));
    screen("done");
    $("status").textContent = "Thank you, that was all.";
    return;
  }
  screen("judge");
  $("caption").textContent = task.caption;
  $("count").textContent = `${task.number} of ${task.total}`;
  $("progress").value = (task.number - 1) / task.total;
  $("who").textContent = state.rater;
  if (!same) {
    $("status").textContent = `Pair ${task.number} of ${task.total}. ${task.caption}`;
    load();
  }
  ask();
}

// ---- the two videos: start together, stay together, loop together when the longer one has ended

function load() {
  paused = false;
  loaded = ["", ""];
  videos.forEach((video, i) => { video.src = task.clips[i]; video.load(); });
}

function together() {
  if (!loaded.every(Boolean)) return;
  videos.forEach((video, i) => {
    if (loaded[i] !== "ready") return;
    video.currentTime = 0;
    if (!paused) video.play().catch(() => { paused = true; refresh(); });
  });
  refresh();
}

function mark(i, how) {
  if (!task || loaded[i]) return;
  loaded[i] = how;
  if (how === "broken") tell("A video does not play in this browser. Skip this pair to go on.");
  together();
}

function playPause() {
  paused = !paused;
  const over = videos.every((video) => video.ended);
  if (over && !paused) return together();
  videos.forEach((video) => { if (paused) video.pause(); else if (!video.ended) video.play(); });
  refresh();
}

videos.forEach((video, i) => {
  video.addEventListener("canplaythrough", () => mark(i, "ready"));
  video.addEventListener("error", () => { if (video.getAttribute("src")) mark(i, "broken"); });
  video.addEventListener("ended", () => {
    if (videos.every((other, j) => other.ended || loaded[j] === "broken")) together();
  });
});

setInterval(() => {
  const [one, two] = videos;
  if (paused || one.ended || two.ended || one.seeking || two.seeking) return;
  if (Math.abs(one.currentTime - two.currentTime) > DRIFT) two.currentTime = one.currentTime;
}, 250);

// ---- questions and answers

function ask() {
  const questions = task.criteria.map(({ name, question }) => {
    const part = $("question").content.cloneNode(true).firstElementChild;
    part.dataset.criterion = name;
    part.querySelector("legend").textContent = question;
    part.querySelectorAll("button").forEach((button) =>
      button.addEventListener("click", () => answer(name, button.dataset.choice)));
    return part;
  });
  $("questions").replaceChildren(...questions);
  $("questions").classList.toggle("several", questions.length > 1);
  refresh();
}

const unanswered = () => task.criteria.map(({ name }) => name).filter((name) => !(name in task.answers));

function refresh() {
  if (!task) return;
  const [current] = unanswered();
  const ready = loaded.length === 2 && loaded.every((how) => how === "ready");
  for (const part of $("questions").children) {
    const given = task.answers[part.dataset.criterion];
    part.classList.toggle("current", part.dataset.criterion === current);
    part.querySelectorAll("button").forEach((button) => {
      button.setAttribute("aria-pressed", String(button.dataset.choice === given));
      button.disabled = Boolean(given) || !ready;
    });
  }
  const last = Object.values(task.answers).at(-1);
  figures.forEach((figure, i) => figure.classList.toggle("chosen", !current && last === String(i + 1)));
  $("next").disabled = !upcoming;
  $("skip").disabled = Boolean(upcoming);
  $("pause").lastElementChild.textContent = paused ? "Play" : "Pause";
}

async function answer(criterion, choice) {
  if (!task || busy || upcoming || criterion in task.answers) return;
  if (choice !== "skip" && !loaded.every((how) => how === "ready")) return;
  const state = await call("vote", { task: task.task, criterion, choice });
  if (!state) return;
  if (state.refused || choice === "skip") return show(state);
  task.answers[criterion] = choice;
  $("status").textContent = choice === "tie" ? "Saved: about the same" : `Saved: video ${choice}`;
  if (state.task && state.task.task === task.task) {
    $("back").disabled = !state.can_undo;
    return refresh();
  }
  upcoming = state;
  $("back").disabled = false;
  refresh();
  timer = setTimeout(next, PAUSE);
}

function next() {
  if (upcoming) show(upcoming);
  else if (task) {
    const part = $("questions").querySelector(".current button:not(:disabled)");
    if (part) part.focus();
  }
}

async function back() {
  clearTimeout(timer);
  const at = upcoming ? upcoming.task : task;  // what the server has at hand
  const state = await call("undo", { task: at ? at.task : null });
  if (!state) { if (upcoming) next(); return; }
  show(state);
}

$("back").addEventListener("click", back);
$("done-back").addEventListener("click", back);
$("replay").addEventListener("click", () => { paused = false; together(); });
$("pause").addEventListener("click", playPause);
$("skip").addEventListener("click", () => answer(unanswered()[0], "skip"));
$("next").addEventListener("click", next);
$("leave").addEventListener("click", () => { sessionStorage.removeItem("rater"); rater = task = null; screen("enter"); });

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input")) return;
  const onButton = event.target.matches("button");
  if (!$("done").hidden && event.key === "Backspace") return back();
  if ($("judge").hidden || !task) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key in KEYS) answer(unanswered()[0], KEYS[key]);
  else if (key === "Backspace" || key === "u") { if (!$("back").disabled) back(); }
  else if (key === "r") $("replay").click();
  else if (key === " " && !onButton) playPause();
  else if (key === "s") { if (!$("skip").disabled) $("skip").click(); }
  else if (key === "Enter" && !onButton) next();
  else return;
  event.preventDefault();
});

// ---- coming and going

async function enter() {
  const state = await call("enter");
  if (!state) return screen("enter");
  sessionStorage.setItem("rater", state.rater);
  rater = state.rater;
  show(state);
}

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  rater = $("rater").value;
  task = null;
  enter();
});

if (rater) enter();
else { screen("enter"); $("rater").focus(); }
