// A round: answer boxes one by one, the countdown, and Escape to skip. The form also works without
// this script.

import { showBoxesOneByOne } from "./boxes.js";
import { runClock } from "./clock.js";

const form = document.getElementById("answers");
const status = document.getElementById("status");
const clock = document.querySelector(".clock");
let sent = false;

const send = () => {
  if (!sent) form.requestSubmit();
};
form.addEventListener("submit", (event) => {
  if (sent) event.preventDefault();
  sent = true;
});

showBoxesOneByOne(form.querySelector(".boxes"), {
  // With a clock, the player may still think of more until it ends. Without one, the player decides
  // when the round is over.
  finish: () => clock || document.getElementById("done").focus(),
});
if (clock) runClock(clock, { announce: (text) => (status.textContent = text), onEnd: send });

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || sent) return;
  event.preventDefault();
  sent = true;
  document.getElementById("skip").requestSubmit();
});
// A page from the browser's back/forward cache has a stopped clock, so load it again.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
