// Nym or Not: one pair at a time, Y and N and Z. Without it all pairs stand in one form.

import { run } from "./clock.js";

const form = document.getElementById("votes");
const list = form.querySelector(".pairs");
const items = [...list.children];
const undo = document.getElementById("undo");
const done = document.getElementById("done");
const count = document.getElementById("count");
const told = document.getElementById("told");
const clock = document.querySelector(".clock");
let at = 0;
let sent = false;

const send = () => {
  if (sent) return;
  sent = true;
  form.requestSubmit();
};

const show = () => {
  items.forEach((item, index) => (item.hidden = index !== at));
  undo.hidden = at === 0;
  if (at === items.length) return send();
  count.textContent = `${at + 1} of ${items.length}`;
  told.textContent = items[at].querySelector("legend").textContent.replace(/\s+/g, " ").trim();
};

const vote = (value) => {
  if (sent || at >= items.length) return;
  items[at].querySelector(`input[value="${value}"]`).checked = true;
  at += 1;
  show();
};

const takeBack = () => {
  if (sent || at === 0) return;
  at -= 1;
  items[at].querySelectorAll("input").forEach((input) => (input.checked = false));
  show();
};

const button = (text, key, value) => {
  const made = document.createElement("button");
  made.type = "button";
  made.className = `button large ${value === "y" ? "yes" : "no"}`;
  const hint = document.createElement("kbd");
  hint.textContent = key;
  made.append(`${text} `, hint);
  made.addEventListener("click", () => vote(value));
  return made;
};

list.classList.add("one-by-one");
undo.before(button("Yes", "Y", "y"), button("No", "N", "n"));
done.classList.add("quiet");
undo.addEventListener("click", takeBack);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const key = event.key.toLowerCase();
  if (key === "y" || key === "n") vote(key);
  else if (key === "z") takeBack();
});
form.addEventListener("submit", () => (sent = true));
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
show();
if (clock) run(clock, { say: () => {}, ended: send });
