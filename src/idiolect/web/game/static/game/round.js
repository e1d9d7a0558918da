// A round: boxes one by one, the countdown, Escape. Without it the form works as it stands.

import { oneByOne } from "./boxes.js";
import { run } from "./clock.js";

const form = document.getElementById("answers");
const told = document.getElementById("told");
const clock = document.querySelector(".clock");
let sent = false;

const send = () => {
  if (!sent) form.requestSubmit();
};
form.addEventListener("submit", (event) => {
  if (sent) event.preventDefault();
  sent = true;
});

oneByOne(form.querySelector(".boxes"), {
  // With a clock there is time to think on; without one the player says when it is over.
  finish: () => clock || document.getElementById("done").focus(),
});
if (clock) run(clock, { say: (text) => (told.textContent = text), ended: send });

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || sent) return;
  event.preventDefault();
  sent = true;
  document.getElementById("skip").requestSubmit();
});
// A page out of the browser's memory shows a clock that stood still.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
