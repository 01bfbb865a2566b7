// What a browser takes for the same without Tidewire: the same WebAssembly is fetched, compiled and instantiated, as
// many bytes are read from a private file of the origin, and as many rows come from a worker. Nothing is looked for in
// the bytes, nothing of the WebAssembly is called, and what can go beside something else does. `?write` makes the file.
const parameters = new URLSearchParams(location.search);
const wanted = Number(parameters.get("rows"));

const worker = new Worker(parameters.has("write") ? "worker.js?write" : "worker.js", { type: "module" });
const answered = new Promise((resolve, reject) => {
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = ({ message }) => reject(new Error(message || "its script cannot be loaded"));
});

async function rows() {
  worker.postMessage({ wanted, module: await WebAssembly.compileStreaming(fetch(parameters.get("wasm"))) });
  // As an application has them.
  const rows = (await answered).map(([id, room_id, body]) => ({ id, room_id, body }));
  if (rows.length !== wanted) throw new Error(`${rows.length} rows have come`);
  return performance.now();
}

/** When the page has the rows, in milliseconds since its address was asked for; or how many bytes were written. */
globalThis.shown = parameters.has("write") ? answered : rows();
