// The address of a result. Owns the fragment, which names its jobs and is never sent to a server.

const KEY = "#job=";

/** The ids of the jobs of one video: the first has the film, the last is shown; maybe none. */
export function jobs() {
  if (!location.hash.startsWith(KEY)) return [];
  const ids = location.hash.slice(KEY.length).split(",");
  return ids.every((id) => /^[\w-]{1,64}$/.test(id)) ? ids : [];
}

/** Take the ids into the address; as a new step of the history, so that Back leaves the result. */
export function go(ids) {
  if (jobs().join() !== ids.join()) history.pushState(null, "", withIds(ids));
}

/** Take the ids into the address in place of those it has. */
export function replace(ids) {
  history.replaceState(null, "", withIds(ids));
}

/** Call `onMove` when Back, Forward or a typed address changes the fragment. */
export function onMove(callback) {
  addEventListener("popstate", callback);
}

function withIds(ids) {
  const { pathname, search } = location;
  return ids.length ? `${KEY}${ids.join(",")}` : `${pathname}${search}`;
}
