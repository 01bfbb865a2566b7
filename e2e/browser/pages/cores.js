// A worker that has the WebAssembly alone, without what the package does around it: tests evaluate in it.
import * as wasm from "../client/wasm/tidewire.js";

async function begin() {
  await wasm.default({ module_or_path: new URL("../client/wasm/tidewire_bg.wasm", import.meta.url) });
}

/** A client on the private files of the origin, with a server that is never reached. */
function openCore(user, { directory = "tidewire-cores", emit = () => undefined } = {}) {
  const config = { servers: ["ws://127.0.0.1:9"], user, name: "cores", directory };
  return wasm.Core.open(config, { token: () => Promise.reject(new Error("there is none")), emit }, undefined);
}

/** The rows of a query. */
async function rows(core, sql) {
  return (await core.query(sql, [])).rows;
}

/** The code and the sentence of what is thrown. */
async function failure(run) {
  try {
    await run();
  } catch (error) {
    return { code: error.code, message: error.message };
  }
  throw new Error("nothing was thrown");
}

Object.assign(globalThis, { begin, openCore, rows, failure, letGo: () => wasm.Core.letGo() });
globalThis.isReady = true;
