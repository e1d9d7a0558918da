// Answer boxes: shows one box first, and adds the next one on Tab or Enter in a filled last box.

const MAX_BOXES = 60; // The server reads no more answers than this.

export function showBoxesOneByOne(list, { finish }) {
  const blank = list.firstElementChild.cloneNode(true);
  blank.querySelector("input").removeAttribute("autofocus");
  const boxes = () => [...list.querySelectorAll("input")];
  // Keep text that the browser restored on reload. Remove the empty boxes, which are for pages
  // without scripts.
  boxes().slice(1).filter((box) => !box.value).forEach((box) => box.closest("li").remove());
  list.classList.add("one-by-one");

  const addBox = () => {
    const count = list.children.length + 1;
    const item = blank.cloneNode(true);
    const box = item.querySelector("input");
    box.id = `answer-${count}`;
    box.value = "";
    item.querySelector("label").htmlFor = box.id;
    item.querySelector("label").textContent = `Answer ${count}`;
    list.append(item);
    return box;
  };

  list.addEventListener("keydown", (event) => {
    const enter = event.key === "Enter";
    const tab = event.key === "Tab" && !event.shiftKey;
    if (!(enter || tab) || event.isComposing || event.ctrlKey || event.altKey || event.metaKey) return;
    const all = boxes();
    const at = all.indexOf(event.target);
    const last = at === all.length - 1;
    if (last && event.target.value.trim() && all.length < MAX_BOXES) {
      event.preventDefault();
      addBox().focus();
    } else if (enter) {
      event.preventDefault();
      // Enter in an empty last box means that the player has no more answers.
      last ? finish() : all[at + 1].focus();
    }
  });
  boxes().at(-1).focus();
}
