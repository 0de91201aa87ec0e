// The page's service worker. It keeps the page's own files, so that after the first visit the page works without a
// connection, and it adds the headers that isolate the page where the server sends none.
//
// The build puts two lines before this one: STORE, a name that changes with the files, and FILES, their addresses.
// Model packages are not kept here: the engine keeps and checks those itself.
const store = typeof STORE === "undefined" ? "mmovseg-page-work" : STORE;
const files = typeof FILES === "undefined" ? [] : FILES;

// Put into the store once all files are there.
const COMPLETE = "./complete";

// Nothing is fetched yet: the first visit waits for this worker before it loads anything.
self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

// The page asks for this once it runs. Older stores serve until the new one is complete.
const keep = async () => {
  const kept = await caches.open(store);
  if (await kept.match(COMPLETE)) return;
  for (const file of files) {
    if (!(await kept.match(file))) await kept.add(file);
  }
  await kept.put(COMPLETE, new Response(""));
  for (const name of await caches.keys()) {
    if (name.startsWith("mmovseg-page-") && name !== store) await caches.delete(name);
  }
};
self.addEventListener("message", (event) => {
  if (event.data === "keep") event.waitUntil(keep());
});

const isolated = (answer) => {
  const policy = "Cross-Origin-Embedder-Policy";
  if (answer?.type !== "basic" || answer.headers.has(policy)) return answer;
  const headers = new Headers(answer.headers);
  headers.set(policy, "require-corp");
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
};

// A kept file. While the newest store is not complete an older one serves: a page of one version and an engine of
// another may not understand one another.
const find = async (request) => {
  const names = (await caches.keys()).filter((name) => name.startsWith("mmovseg-page-") && name !== store);
  for (const name of [store, ...names]) {
    const kept = await caches.open(name);
    if (await kept.match(COMPLETE)) return kept.match(request, { ignoreSearch: true });
  }
  return undefined;
};

// How long the server may be silent before what is kept is shown, and for how long it then is shown at once, in
// milliseconds: a network without a route answers nothing.
const PATIENCE = 3000;
const REST = 30000;
let silentUntil = 0;

// The server first, so that a new version is seen at once; what is kept serves without a connection.
self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  const own = url.origin === location.origin && url.href.startsWith(self.registration.scope);
  const path = url.href.slice(self.registration.scope.length);
  if (request.method !== "GET" || !own || path.startsWith("models/")) return;
  event.respondWith((async () => {
    const kept = find(request);
    const asked = fetch(request);
    // Where nothing is kept, the server is waited for.
    const late = kept.then((answer) => answer && new Promise((_, fail) => {
      const patience = Date.now() < silentUntil ? 0 : PATIENCE;
      setTimeout(() => fail(new Error("no answer")), patience);
    })).then((answer) => answer ?? asked);
    try {
      return isolated(await Promise.race([asked, late]));
    } catch (error) {
      const answer = await kept;
      if (!answer) throw error;
      // Not prolonged by what is served meanwhile: the server is asked again after the rest.
      if (Date.now() >= silentUntil) silentUntil = Date.now() + REST;
      return isolated(answer);
    }
  })());
});
