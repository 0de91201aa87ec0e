// Keeps the page's own files, so that after the first visit it works without a connection.
//
// The build puts two lines before this one: STORE, a name that changes with the files, and FILES, their
// addresses. Model packages are not kept here: the engine keeps and checks those itself.
const store = typeof STORE === "undefined" ? "mmovseg-page-work" : STORE;
const files = typeof FILES === "undefined" ? [] : FILES;

self.addEventListener("install", (event) => {
  event.waitUntil((async () => {
    const kept = await caches.open(store);
    await kept.addAll(files);
    await self.skipWaiting();
  })());
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith("mmovseg-page-") && name !== store) await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

// Where the server sends no such headers, pages from here are isolated from other origins all the same: only then
// may the engine's threads share memory.
const isolated = (answer) => {
  const policy = "Cross-Origin-Embedder-Policy";
  if (answer?.type !== "basic" || answer.headers.has(policy)) return answer;
  const headers = new Headers(answer.headers);
  headers.set(policy, "require-corp");
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
};

// How long the server may be silent before what is kept is shown, and for how long it then is shown at
// once, in milliseconds: a connection that is there in name only answers nothing.
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
    const kept = (await caches.open(store)).match(request, { ignoreSearch: true });
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
      // Not prolonged by what is served meanwhile: the server is asked in earnest again.
      if (Date.now() >= silentUntil) silentUntil = Date.now() + REST;
      return isolated(answer);
    }
  })());
});
