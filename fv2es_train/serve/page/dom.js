// Elements of the page. Owns making them, always from text, never from HTML.

/** The element of an id that index.html holds. */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * A new element.
 *
 * Options: `text`, `class`, `data` (name -> value) and any attribute. Children are elements or
 * strings; a string becomes text, whatever is in it, and null is left out.
 */
export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...there(children));
  return element;
}

/** Put children into an element in the place of those it has; null is left out. */
export function fill(element, ...children) {
  element.replaceChildren(...there(children));
}

function there(children) {
  return children.filter((child) => child !== null && child !== undefined);
}

/** Show or hide elements. */
export function show(shown, ...elements) {
  for (const element of elements) element.hidden = !shown;
}

/** A promise that is kept after some milliseconds, or broken when the signal is given. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        reject(signal.reason);
      },
      { once: true },
    );
  });
}
