// The worker of the limit: see `page.js`.

/** Where the client has its replicas, and a file beside it. */
const REPLICAS = "tidewire";
const FILE = "limit";

/** As the rows of the benchmark. */
const BODY = "x".repeat(80);

/** Of all files in a folder, which nobody may have open. */
async function bytesIn(folder) {
  let bytes = 0;
  for await (const entry of folder.values()) {
    bytes += entry.kind === "directory" ? await bytesIn(entry) : (await entry.getFile()).size;
  }
  return bytes;
}

/** Makes the file, with as many bytes as the client has in its files. */
async function write() {
  const root = await navigator.storage.getDirectory();
  const bytes = new Uint8Array(await bytesIn(await root.getDirectoryHandle(REPLICAS)));
  const file = await (await root.getFileHandle(FILE, { create: true })).createSyncAccessHandle();
  file.truncate(0);
  // Not zeros, for which a file system may take no room.
  file.write(bytes.map((_, at) => at * 167));
  file.flush();
  file.close();
  return bytes.length;
}

async function read() {
  const root = await navigator.storage.getDirectory();
  const file = await (await root.getFileHandle(FILE)).createSyncAccessHandle();
  const bytes = new Uint8Array(file.getSize());
  const count = file.read(bytes, { at: 0 });
  file.close();
  if (count !== bytes.length || count === 0) throw new Error(`${count} of ${bytes.length} bytes were read`);
}

/** With functions that nobody calls. */
function instantiate(module) {
  const imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    (imports[from] ??= {})[name] = () => undefined;
  }
  return new WebAssembly.Instance(module, imports);
}

if (location.search === "?write") {
  postMessage(await write());
} else {
  // Before the WebAssembly has come.
  const isRead = read();
  globalThis.onmessage = async ({ data: { module, wanted } }) => {
    instantiate(module);
    await isRead;
    postMessage(Array.from({ length: wanted }, (_, id) => [id, id % 100, BODY]));
  };
}
