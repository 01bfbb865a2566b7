/** The WebAssembly: fetched and compiled once for the page, while the worker loads its script. */

import { TidewireError, messageOf } from "./errors.js";

let compiled: Promise<WebAssembly.Module> | undefined;

/**
 * The compiled WebAssembly. A worker that is started again gets the same.
 *
 * Rejects with `offline` when it cannot be fetched, and with `internal` when it cannot be compiled; the next call
 * tries again.
 */
export function program(): Promise<WebAssembly.Module> {
  compiled ??= load().catch((error: unknown) => {
    compiled = undefined;
    throw error;
  });
  return compiled;
}

async function load(): Promise<WebAssembly.Module> {
  const url = new URL("../wasm/tidewire_bg.wasm", import.meta.url);
  let response: Response;
  try {
    response = await fetch(url, { credentials: "same-origin" });
  } catch (error) {
    throw new TidewireError("offline", `${url} cannot be fetched (${messageOf(error)}): serve it with the application`);
  }
  if (!response.ok) {
    throw new TidewireError("offline", `${url} answers ${response.status}: serve it with the application`);
  }
  try {
    return await compile(response);
  } catch (error) {
    throw new TidewireError(
      "internal",
      `${url} cannot be compiled (${messageOf(error)}): the content security policy of the page needs ` +
        `script-src 'wasm-unsafe-eval', and the file must be served as it was built`,
    );
  }
}

async function compile(response: Response): Promise<WebAssembly.Module> {
  // Only this type is compiled while it arrives.
  if (response.headers.get("Content-Type")?.split(";")[0]?.trim() === "application/wasm") {
    return await WebAssembly.compileStreaming(response);
  }
  return await WebAssembly.compile(await response.arrayBuffer());
}
