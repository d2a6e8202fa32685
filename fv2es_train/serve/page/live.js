// Keeps a page current: fetches it again and replaces the parts of main that changed. What the
// user has opened stays open; parts that did not change keep their place and focus.

const EVERY_MS = 5000;
const main = document.querySelector("main");
const state = document.querySelector("[role=status]");

function markup(part) {
  const copy = part.cloneNode(true);
  for (const one of copy.querySelectorAll("details")) one.open = false;
  return copy.outerHTML;
}

function replace(old, part) {
  const opened = old.querySelectorAll("details");
  for (const [n, one] of part.querySelectorAll("details").entries()) one.open = opened[n]?.open;
  old.replaceWith(part);
}

async function renew() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/");
    if (!answer.ok) throw new Error(answer.statusText);
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    const parts = [...found.querySelector("main").children];
    const olds = [...main.children];
    for (const [n, part] of parts.entries()) {
      if (!olds[n]) main.append(part);
      else if (markup(olds[n]) !== markup(part)) replace(olds[n], part);
    }
    for (const old of olds.slice(parts.length)) old.remove();
    state.textContent = "";
  } catch {
    state.textContent = "The server does not answer: this page may be out of date.";
  }
}

// The next one starts when the one before has ended.
async function follow() {
  await renew();
  setTimeout(follow, EVERY_MS);
}
setTimeout(follow, EVERY_MS);
