// The countdown that a player sees. The server's clock decides; this one is only a display.

const HURRY_SECONDS = 5; // The last seconds, announced to screen readers.

export function runClock(clock, { announce, onEnd }) {
  const seconds = Number(clock.dataset.seconds);
  const left = Number(clock.dataset.left);
  const end = performance.now() + 1000 * left;
  const bar = clock.querySelector(".bar");
  const label = clock.querySelector(".left");
  const number = clock.querySelector(".number");
  bar.style.animationDelay = `${left - seconds}s`;
  label.hidden = false;
  let announced = false;

  const tick = () => {
    const rest = Math.max(0, (end - performance.now()) / 1000);
    const whole = Math.ceil(rest);
    if (number.textContent !== String(whole)) {
      number.textContent = String(whole);
      bar.style.setProperty("--left", String(whole / seconds));
    }
    clock.classList.toggle("hurry", rest <= HURRY_SECONDS);
    if (rest <= HURRY_SECONDS && rest > 0 && !announced) {
      announced = true;
      announce(`${whole} seconds left`);
    }
    if (rest === 0) {
      clearInterval(timer);
      onEnd();
    }
  };
  const timer = setInterval(tick, 100);
  tick();
}
