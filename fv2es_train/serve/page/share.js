// The link to a result. Owns its panel and copying it.

import { byId, show } from "./dom.js";
import { duration } from "./format.js";

const OWN = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** Copy the link of the page as it is, and say what it opens for how long. */
export async function share(expiresS, withToken) {
  const field = byId("link");
  field.value = location.href;
  const where = OWN.test(location.hostname)
    ? "in any browser on this machine"
    : "in any browser that can reach this server";
  const token = withToken ? " The other browser asks for the token of the server." : "";
  byId("share-text").textContent =
    `It opens this result ${where}, for ${duration(expiresS)} from now. ` +
    `Whoever has the link can see the result and delete it.${token}`;
  show(true, byId("share"));
  let copied = "The link is copied.";
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    // Browsers let only secure pages copy: HTTPS or localhost.
    field.focus();
    field.select();
    copied = "Press Ctrl+C to copy the link.";
  }
  byId("share-state").textContent = copied;
}

/** Take the panel away. */
export function close() {
  show(false, byId("share"));
}
