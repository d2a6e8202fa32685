// The page over a dataset: filters, the list, and one utterance beside it.

import { byId, fill, make, show } from "../page/dom.js";
import { Detail } from "./detail.js";
import { List } from "./list.js";
import { get } from "./server.js";

const WORDS = { text: "words", audio: "sound", video: "pictures" };

const filters = byId("filters");
const total = byId("total");
const detail = new Detail(byId("detail"), (id) => open(id), () => list.refresh());
const list = new List(byId("list"), byId("room"), (row) => open(row.id));

function open(id) {
  detail.open(id).catch(fail);
}

function query() {
  const given = new FormData(filters);
  const asked = new URLSearchParams();
  for (const [name, value] of given) if (value !== "") asked.set(name, value === "on" ? "true" : value);
  return asked;
}

function fail(error) {
  fill(byId("notice"), make("p", { class: "notice", text: error.message }));
}

async function search() {
  fill(byId("notice"));
  try {
    const asked = query();
    const count = await list.ask(asked);
    if (count === null) return;
    total.textContent = `${count.toLocaleString("en")} ${count === 1 ? "utterance" : "utterances"}`;
    byId("rows-csv").href = `v1/rows.csv?${asked}`;
  } catch (error) {
    fail(error);
  }
}

function options(name, values, words = {}) {
  const select = filters.elements[name];
  fill(select, make("option", { value: "", text: "any" }),
    ...values.map((value) => make("option", { value, text: words[value] ?? value.replaceAll("_", " ") })));
  show(values.length > 0, select.parentElement);
}

async function start() {
  const about = await get("v1/about");
  byId("dataset").textContent = `${about.shards}: ${about.examples.toLocaleString("en")} utterances of ${about.corpus}` +
    (about.left_out ? `, ${about.left_out.toLocaleString("en")} left out` : "");
  document.title = `fv2es: ${about.shards}`;
  for (const [name, values] of Object.entries(about.choices)) options(name, values, name === "missing" ? WORDS : {});
  if (about.runs.length) {
    for (const state of ["right", "wrong"]) {
      filters.elements.state.append(make("option", { value: state, text: `${state} by ${about.runs[0]}` }));
    }
    filters.elements.order.append(make("option", { value: "confidence", text: "confidence" }));
  }
  detail.marks = about.marks;
  let timer = 0;
  filters.addEventListener("input", (event) => {
    if (event.target.id === "as-grid") {
      list.setGrid(event.target.checked);
      return;
    }
    clearTimeout(timer);
    timer = setTimeout(search, ["search", "number"].includes(event.target.type) ? 150 : 0);
  });
  filters.addEventListener("reset", () => setTimeout(() => {
    list.setGrid(false);
    search();
  }));
  filters.addEventListener("submit", (event) => event.preventDefault());
  await search();
}

start().catch(fail);
