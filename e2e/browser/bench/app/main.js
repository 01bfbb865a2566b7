// An application that shows rows: `?rows=N` of all that are there, the latest where it shows only the last of them.
import { createClient } from "@tidewire/client";

const parameters = new URLSearchParams(location.search);
const wanted = Number(parameters.get("rows"));

const client = createClient({
  url: parameters.get("server"),
  user: parameters.get("user"),
  token: async () => (await fetch(`/token?user=${parameters.get("user")}`)).text(),
});
const subscription = client.subscribe("SELECT * FROM bench.notes");

async function rows() {
  const sql = "SELECT id, room_id, body FROM bench.notes ORDER BY id DESC LIMIT $1";
  for await (const { rows, error } of client.watch(sql, [wanted])) {
    if (error) throw error;
    // Since the address was asked for.
    if (rows.length === wanted) return performance.now();
  }
  throw new Error("the watch has ended before the rows were there");
}

/** When the page has the rows, in milliseconds. */
globalThis.shown = rows();
/** All that it has subscribed to is on the device. */
globalThis.loaded = () => subscription.ready();
