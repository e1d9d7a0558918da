// The countdown that a player sees. The server's clock decides; this one only shows and calls.

const LAST = 5; // seconds before the end that are said aloud

export function run(clock, { say, ended }) {
  const seconds = Number(clock.dataset.seconds);
  const left = Number(clock.dataset.left);
  const end = performance.now() + 1000 * left;
  const bar = clock.querySelector(".bar");
  const shown = clock.querySelector(".left");
  const number = clock.querySelector(".number");
  bar.style.animationDelay = `${left - seconds}s`;
  shown.hidden = false;
  let said = false;

  const tick = () => {
    const rest = Math.max(0, (end - performance.now()) / 1000);
    const whole = Math.ceil(rest);
    if (number.textContent !== String(whole)) {
      number.textContent = String(whole);
      bar.style.setProperty("--left", String(whole / seconds));
    }
    clock.classList.toggle("hurry", rest <= LAST);
    if (rest <= LAST && rest > 0 && !said) {
      said = true;
      say(`${whole} seconds left`);
    }
    if (rest === 0) {
      clearInterval(timer);
      ended();
    }
  };
  const timer = setInterval(tick, 100);
  tick();
}
