// The videos that this browser sent, kept in it so that a reload can play them again.
// Owns the database. Without one (a private window, a full disk) there is no video after a reload.

const FILMS = "films";
const ENDS = "ends";
/** A larger video is not kept. */
const MOST_BYTES = 512 * 1024 * 1024;

/** Keep the video of a job until a moment, in milliseconds since 1970. */
export async function keep(id, file, until) {
  if (file.size > MOST_BYTES) return;
  await quietly((films, ends) => {
    films.put(file, id);
    ends.put(until, id);
  });
}

/** Keep the video of a job until another moment, if it is there. */
export async function extend(id, until) {
  await quietly((_, ends) => {
    const found = ends.getKey(id);
    found.onsuccess = () => found.result === id && ends.put(until, id);
  });
}

/** The video of a job, or null. */
export async function find(id) {
  return (await quietly((films) => films.get(id))) ?? null;
}

/** Delete the video of a job. */
export async function forget(id) {
  await quietly((films, ends) => {
    films.delete(id);
    ends.delete(id);
  });
}

/** Delete the videos whose results are gone from the server. */
export async function sweep() {
  await quietly((films, ends) => {
    const cursor = ends.openCursor();
    cursor.onsuccess = () => {
      const one = cursor.result;
      if (!one) return;
      if (one.value < Date.now()) {
        films.delete(one.key);
        one.delete();
      }
      one.continue();
    };
  });
}

/** Run `work` in a transaction and give the value of the request that it gives, if any. */
async function quietly(work) {
  try {
    const database = await opened();
    try {
      return await new Promise((resolve, reject) => {
        const change = database.transaction([FILMS, ENDS], "readwrite");
        const request = work(change.objectStore(FILMS), change.objectStore(ENDS));
        change.oncomplete = () => resolve(request?.result);
        change.onabort = () => reject(change.error);
      });
    } finally {
      database.close();
    }
  } catch {
    return undefined; // The results do not depend on it.
  }
}

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("fv2es", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(FILMS);
      request.result.createObjectStore(ENDS);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("the database is in use"));
  });
}
