// Keys and parts that arrive later. Everything here also works as plain links and forms.
"use strict";

// Any link, button or field with data-key="j" is used when that key is pressed; its label or title names it in the help.
// Where a page and the navigation have the same key, it is the page's.
function keyed() {
  const found = [...document.querySelectorAll("main [data-key]"), ...document.querySelectorAll("header [data-key]")];
  return new Map(found.reverse().map((one) => [one.dataset.key, one]));
}
document.addEventListener("keydown", (event) => {
  const at = event.target;
  const typing = at.matches?.("input, textarea, select, [contenteditable]");
  if (event.ctrlKey || event.metaKey || event.altKey || typing) {
    if (event.key === "Escape" && typing) at.blur();
    return;
  }
  if (event.key === "?") return openKeys();
  const wanted = keyed().get(event.key);
  if (!wanted) return;
  event.preventDefault();
  if (wanted.matches("input, textarea, select")) wanted.focus();
  else wanted.click();
});

function openKeys() {
  const dialog = document.getElementById("keys");
  const list = dialog.querySelector("dl");
  list.replaceChildren();
  const told = [...keyed()].reverse().map(([key, one]) => [
    key, one.getAttribute("aria-label") || one.title || one.textContent.trim(),
  ]);
  for (const [key, words] of [["?", "these keys"], ["Esc", "leave a field"], ...told]) {
    const term = document.createElement("dt");
    const kbd = document.createElement("kbd");
    kbd.textContent = key;
    term.append(kbd);
    const meaning = document.createElement("dd");
    meaning.textContent = words;
    list.append(term, meaning);
  }
  dialog.showModal();
}
document.getElementById("keys-button")?.addEventListener("click", openKeys);

// A part with data-load is replaced by the same part of another page; with data-every, again after so many seconds.
async function load(part) {
  try {
    const answer = await fetch(part.dataset.load, { headers: { accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(part.id);
    if (!fresh) throw new Error(page.querySelector("[role=alert]")?.textContent ?? "nothing to show");
    part.replaceWith(fresh);
    later(fresh);
  } catch (error) {
    const note = part.querySelector("[role=status]");
    if (note) note.textContent = `This part could not be read: ${error.message}`;
    else later(part);
  }
}
function later(part) {
  const seconds = Number(part.dataset.every);
  if (part.dataset.load && seconds) setTimeout(() => load(part), 1000 * seconds);
}
for (const part of document.querySelectorAll("[data-load]")) part.dataset.every ? later(part) : load(part);

// What is opened to be written in is ready to be written in.
document.addEventListener("toggle", (event) => event.target.open && event.target.querySelector("textarea")?.focus(), true);
