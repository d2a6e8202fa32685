// What this browser can play. Owns trying a file out before it is sent.

const PATIENCE_MS = 8000;
const AFTER_METADATA_MS = 1500;

/**
 * Try a file in a video element.
 *
 * Gives `plays` (a picture was decoded, so that no film has to be made for this browser), `sounds`
 * (it plays without a picture) and `length_s`, NaN where it is not known.
 */
export function tryOut(file) {
  const video = document.createElement("video");
  const url = URL.createObjectURL(file);
  return new Promise((resolve) => {
    let timer = 0;
    const finish = (known) => {
      clearTimeout(timer);
      const length = known && Number.isFinite(video.duration) ? video.duration : NaN;
      resolve({
        plays: known && video.videoWidth > 0,
        sounds: known && video.videoWidth === 0,
        length_s: length,
      });
      video.removeAttribute("src");
      video.load();
      URL.revokeObjectURL(url);
    };
    timer = setTimeout(() => finish(false), PATIENCE_MS);
    video.muted = true;
    video.preload = "auto";
    // Metadata may be readable where pictures are not: wait for a picture, but some browsers load
    // none before somebody presses play.
    video.addEventListener(
      "loadedmetadata",
      () => {
        clearTimeout(timer);
        timer = setTimeout(() => finish(true), AFTER_METADATA_MS);
      },
      { once: true },
    );
    video.addEventListener("loadeddata", () => finish(true), { once: true });
    video.addEventListener("error", () => finish(false), { once: true });
    video.src = url;
  });
}
