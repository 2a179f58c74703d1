// A page opened as a file may not fetch search.json: the same index then comes as a script.
if (location.protocol === "file:") {
  const src = document.currentScript.src.replace(/[^/]*$/, "search.js"), fetched = window.fetch;
  const load = (onload, onerror) =>
    document.head.append(Object.assign(document.createElement("script"), {src, onload, onerror}));
  window.fetch = (address, ...rest) => !String(address).endsWith("search.json") ? fetched(address, ...rest)
    : new Promise(load).then(() => new Response(JSON.stringify(window.searchIndex)));
}
