// Boxes for answers: one at first, the next when the last has a word and Tab or Enter is pressed.

const MOST = 60; // as many as the server looks at

export function oneByOne(list, { finish }) {
  const blank = list.firstElementChild.cloneNode(true);
  blank.querySelector("input").removeAttribute("autofocus");
  const boxes = () => [...list.querySelectorAll("input")];
  // What the browser kept over a reload stays; empty boxes that were for pages without scripts go.
  boxes().slice(1).filter((box) => !box.value).forEach((box) => box.closest("li").remove());
  list.classList.add("one-by-one");

  const add = () => {
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
    if (last && event.target.value.trim() && all.length < MOST) {
      event.preventDefault();
      add().focus();
    } else if (enter) {
      event.preventDefault();
      // An empty last box: nothing more comes to mind.
      last ? finish() : all[at + 1].focus();
    }
  });
  boxes().at(-1).focus();
}
