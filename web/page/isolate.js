// Isolates the page from other origins where its server sends no headers for that: only then may the engine's threads
// share memory. The service worker (offline.js) adds the headers to what it passes on, so the first visit reloads once,
// through the service worker, before the page's own program is loaded.
//
// The reload is guarded: it happens once in a tab, and where a browser does not isolate the page all the same the page
// goes on with one thread.
const GUARD = "mmovseg-isolated";
const WAIT_MS = 4000;

/** Resolves to true when the page may start, and to false when it is being loaded anew. */
export const isolated = async () => {
  if (self.crossOriginIsolated || !navigator.serviceWorker || !self.isSecureContext) return true;
  let guard;
  try {
    guard = sessionStorage;
    if (guard.getItem(GUARD)) return true;
  } catch {
    // A browser that keeps nothing for this page, as in some frames, could reload for ever.
    return true;
  }
  try {
    await navigator.serviceWorker.register("./offline.js");
    const controlled = new Promise((done) => {
      if (navigator.serviceWorker.controller) done(true);
      navigator.serviceWorker.addEventListener("controllerchange", () => done(true), { once: true });
    });
    const late = new Promise((done) => setTimeout(done, WAIT_MS, false));
    if (!(await Promise.race([controlled, late]))) return true;
  } catch {
    return true;
  }
  guard.setItem(GUARD, "1");
  location.reload();
  return false;
};
