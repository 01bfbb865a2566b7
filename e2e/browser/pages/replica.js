// A worker that has the tests of the replica, as functions of their WebAssembly: each is called by its name.
import init, { openTestFiles } from "../replica/tidewire.js";

const EXPORTED = "test ";

async function begin() {
  const exported = await init({ module_or_path: new URL("../replica/tidewire_bg.wasm", import.meta.url) });
  const names = Object.keys(exported).filter((name) => name.startsWith(EXPORTED));
  /** Runs a test. When it fails, its message is thrown, and nothing else can be run here. */
  globalThis.run = async (name, directory) => {
    await openTestFiles(directory);
    exported[EXPORTED + name]();
  };
  return names.map((name) => name.slice(EXPORTED.length)).sort();
}

Object.assign(globalThis, { begin });
globalThis.isReady = true;
