// A program of Node that types one number after the other, and says each that is stored.
import { createClient } from "../../../../packages/client/dist/node/index.js";

const [url, token, directory] = process.argv.slice(2);
const client = createClient({ url, name: "test", user: "ann", directory, token: () => token });
await client.subscribe("SELECT * FROM app.notes").ready();
for (;;) {
  const next = "INSERT INTO app.notes (id, room) SELECT coalesce(max(id), 0) + 1, 7 FROM app.notes RETURNING id";
  const { rows } = await client.execute(next);
  process.stdout.write(`${rows[0].id}\n`);
}
