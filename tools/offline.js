// A page opened as a file may not fetch search.json: the same index then comes as a script.
if (location.protocol === "file:") {
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  let index = null;
  const load = () => index ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = folder + "search.js";
    script.onload = () => resolve(new Response(JSON.stringify(window.searchIndex)));
    script.onerror = reject;
    document.head.append(script);
  });
  const fetched = window.fetch;
  window.fetch = (address, ...rest) =>
    String(address).endsWith("search.json") ? load().then((answer) => answer.clone()) : fetched(address, ...rest);
}
