// Requests to the server. Owns their errors.

/** The JSON of an address; an error has the server's sentence. */
export async function get(address, signal) {
  return answer(await fetch(address, { signal }));
}

/** Send JSON, and return the answer's. */
export async function put(address, value) {
  const headers = { "Content-Type": "application/json" };
  return answer(await fetch(address, { method: "PUT", headers, body: JSON.stringify(value) }));
}

async function answer(response) {
  if (response.ok) return response.json();
  const said = await response.json().catch(() => null);
  const error = said?.error;
  throw new Error(error ? [error.sentence, error.hint].filter(Boolean).join("; ") : `the server answers ${response.status}`);
}
