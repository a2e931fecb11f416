// Colours, completion and Ctrl-Enter for the SQL console. The form works without it.
"use strict";

const WORDS = new Set(("select from where group by order having limit offset join left right inner outer full cross on using as " +
  "with recursive union all except intersect distinct case when then else end and or not in is null like ilike between exists " +
  "values describe summarize show tables filter over partition rows range qualify asc desc nulls first last exclude replace " +
  "lateral unnest cast true false pivot unpivot count sum avg min max list any_value arg_max arg_min").split(" "));
const TOKEN = /--[^\n]*|'(?:[^']|'')*'?|\$\w+|\b\d+(?:\.\d+)?\b|[A-Za-z_]\w*|[^]/g;

const form = document.getElementById("query");
const area = form.querySelector("textarea");
const colours = form.querySelector(".editor pre");
const offers = form.querySelector(".offers");
let names = [];
let columnsOf = {};

function kindOf(token) {
  if (token.startsWith("--")) return "comment";
  if (token.startsWith("'")) return "string";
  if (/^[$\d]/.test(token)) return "value";
  return WORDS.has(token.toLowerCase()) ? "word" : "";
}

function colour() {
  const parts = [];
  let plain = "";
  for (const [token] of area.value.slice(0, 20000).matchAll(TOKEN)) {
    const kind = kindOf(token);
    if (!kind) { plain += token; continue; }
    if (plain) parts.push(document.createTextNode(plain));
    plain = "";
    const part = document.createElement("span");
    part.className = kind;
    part.textContent = token;
    parts.push(part);
  }
  parts.push(document.createTextNode(plain + "\n"));
  colours.replaceChildren(...parts);
  colours.scrollTop = area.scrollTop;
  form.querySelector(".editor").classList.toggle("coloured", area.value.length <= 20000);
}

// Completion: names of tables, views, and the columns of those that the query names.
function begun() {
  return /[A-Za-z_]\w*$/.exec(area.value.slice(0, area.selectionStart))?.[0] ?? "";
}
function offer() {
  const start = begun();
  const used = new Set(area.value.toLowerCase().match(/[a-z_]\w*/g) ?? []);
  const columns = Object.entries(columnsOf).filter(([table]) => used.has(table)).flatMap(([, all]) => all);
  const known = [...new Set([...names, ...columns, ...WORDS])];
  const found = start.length < 2 ? [] : known.filter((one) => one.startsWith(start.toLowerCase()) && one !== start).slice(0, 8);
  offers.hidden = !found.length;
  offers.replaceChildren(...found.map((one, at) => {
    const item = document.createElement("li");
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", String(at === 0));
    item.textContent = one;
    item.addEventListener("mousedown", (event) => { event.preventDefault(); take(one); });
    return item;
  }));
}
function take(word) {
  const at = area.selectionStart;
  area.setRangeText(word, at - begun().length, at, "end");
  offers.hidden = true;
  colour();
}
function move(step) {
  const items = [...offers.children];
  const now = items.findIndex((one) => one.getAttribute("aria-selected") === "true");
  items.forEach((one, at) => one.setAttribute("aria-selected", String(at === (now + step + items.length) % items.length)));
}

area.addEventListener("input", () => { colour(); offer(); });
area.addEventListener("scroll", () => { colours.scrollTop = area.scrollTop; });
area.addEventListener("blur", () => { offers.hidden = true; });
area.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return form.requestSubmit();
  if (offers.hidden) return;
  if (event.key === "Tab" || event.key === "Enter") {
    event.preventDefault();
    take(offers.querySelector("[aria-selected=true]").textContent);
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    move(event.key === "ArrowDown" ? 1 : -1);
  } else if (event.key === "Escape") offers.hidden = true;
});
// An empty field is no part of the address.
form.addEventListener("submit", () => {
  for (const field of form.querySelectorAll("input, select")) if (!field.value) field.disabled = true;
});
window.addEventListener("pageshow", () => { for (const field of form.querySelectorAll(":disabled")) field.disabled = false; });

function showSchema() {
  const list = document.getElementById("schema");
  list.replaceChildren(...Object.entries(columnsOf).map(([table, columns]) => {
    const part = document.createElement("details");
    const head = document.createElement("summary");
    head.textContent = table;
    const body = document.createElement("div");
    body.className = "note";
    body.textContent = columns.join(", ");
    part.append(head, body);
    return part;
  }));
}

colour();
fetch("/sql/schema.json").then((answer) => answer.json()).then((known) => {
  columnsOf = known;
  names = Object.keys(known);
  showSchema();
});
