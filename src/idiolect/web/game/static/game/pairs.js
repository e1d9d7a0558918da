// Nym or Not: shows one pair at a time, with the keys Y, N and Z. Without this script, the form
// shows all pairs.

import { runClock } from "./clock.js";

const form = document.getElementById("votes");
const list = form.querySelector(".pairs");
const items = [...list.children];
const undo = document.getElementById("undo");
const done = document.getElementById("done");
const count = document.getElementById("count");
const status = document.getElementById("status");
const clock = document.querySelector(".clock");
let at = 0; // Index of the pair that is shown.
let sent = false; // A form is sent once, by its end, its button or the clock.

const send = () => {
  if (sent) return;
  sent = true;
  form.requestSubmit();
};

const showPair = () => {
  items.forEach((item, index) => (item.hidden = index !== at));
  undo.hidden = at === 0;
  if (at === items.length) return send();
  count.textContent = `${at + 1} of ${items.length}`;
  status.textContent = items[at].querySelector("legend").textContent.replace(/\s+/g, " ").trim();
};

const vote = (value) => {
  if (sent || at >= items.length) return;
  items[at].querySelector(`input[value="${value}"]`).checked = true;
  at += 1;
  showPair();
};

const undoVote = () => {
  if (sent || at === 0) return;
  at -= 1;
  items[at].querySelectorAll("input").forEach((input) => (input.checked = false));
  showPair();
};

const createVoteButton = (text, key, value) => {
  const button = document.createElement("button");
  button.type = "button";
  button.className = `button large ${value === "y" ? "yes" : "no"}`;
  const hint = document.createElement("kbd");
  hint.textContent = key;
  button.append(`${text} `, hint);
  button.addEventListener("click", () => vote(value));
  return button;
};

list.classList.add("one-by-one");
undo.before(createVoteButton("Yes", "Y", "y"), createVoteButton("No", "N", "n"));
done.classList.add("quiet");
undo.addEventListener("click", undoVote);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const key = event.key.toLowerCase();
  if (key === "y" || key === "n") vote(key);
  else if (key === "z") undoVote();
});
form.addEventListener("submit", () => (sent = true));
// A page from the browser's back/forward cache has a stopped clock, so load it again.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
showPair();
// Each new pair is announced already; announcing the time too would be too much.
if (clock) runClock(clock, { announce: () => {}, onEnd: send });
