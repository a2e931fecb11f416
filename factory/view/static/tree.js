// The slider over a prompt's trees: the links beside it do the same.
"use strict";
for (const slider of document.querySelectorAll("input[data-slides]")) {
  const links = [...document.getElementById(slider.dataset.slides).querySelectorAll("a")];
  const name = () => links[Number(slider.value)].textContent;
  slider.addEventListener("input", () => slider.setAttribute("aria-valuetext", name()));
  slider.addEventListener("change", () => links[Number(slider.value)].click());
}
