/**
 * What the app adds to its replica: tables of its own, which never leave the device, an index, and a full-text table
 * that triggers keep in step with the messages, whoever writes them.
 */

import type { Incident, TidewireClient } from "@tidewire/client";

import { Store } from "../session/store.js";

/** Whether the full-text table is there. */
export const canSearch = new Store<boolean>(false);

const TABLES = [
  "CREATE TABLE IF NOT EXISTS liked (message TEXT PRIMARY KEY)",
  // How a message was before it was edited: one that has another text now was.
  "CREATE TABLE IF NOT EXISTS first_bodies (message TEXT PRIMARY KEY, body TEXT NOT NULL)",
];

const TRIGGERS = [
  "CREATE INDEX IF NOT EXISTS messages_of_room ON chat.messages (room, at)",
  `CREATE VIRTUAL TABLE IF NOT EXISTS words
   USING fts5(body, content='chat__messages', content_rowid='rowid', tokenize='unicode61 remove_diacritics 2')`,
  "INSERT INTO words (words) VALUES ('rebuild')",
  `CREATE TRIGGER IF NOT EXISTS words_inserted AFTER INSERT ON chat.messages BEGIN
     INSERT INTO words (rowid, body) VALUES (new.rowid, new.body); END`,
  `CREATE TRIGGER IF NOT EXISTS words_deleted AFTER DELETE ON chat.messages BEGIN
     INSERT INTO words (words, rowid, body) VALUES ('delete', old.rowid, old.body); END`,
  `CREATE TRIGGER IF NOT EXISTS words_updated AFTER UPDATE ON chat.messages BEGIN
     INSERT INTO words (words, rowid, body) VALUES ('delete', old.rowid, old.body);
     INSERT INTO words (rowid, body) VALUES (new.rowid, new.body); END`,
  `CREATE TRIGGER IF NOT EXISTS edited AFTER UPDATE OF body ON chat.messages WHEN old.body <> new.body BEGIN
     INSERT OR IGNORE INTO first_bodies VALUES (old.id, old.body); END`,
  `CREATE TRIGGER IF NOT EXISTS gone AFTER DELETE ON chat.messages BEGIN
     DELETE FROM first_bodies WHERE message = old.id; END`,
];

/** Makes what is not there yet. */
export function prepare(client: TidewireClient): void {
  canSearch.set(false);
  client.batch(TABLES).catch(report);
  // What the app has made goes when it is in the way of what the server says, and with a damaged replica.
  client.onIncident(({ kind }: Incident) => {
    if (kind === "dropped" || kind === "rebuilt") client.batch(TABLES).then(() => makeTriggers(client), report);
    // Another page has the replica and stands still. What the app has noted there is not shown meanwhile.
    if (kind === "stand-in") client.batch(TABLES).catch(report);
  });
  // A trigger needs its table, which is here as soon as the server has told of it once.
  const subscription = client.subscribe("SELECT * FROM chat.rooms");
  subscription.ready().then(
    () => makeTriggers(client),
    () => undefined,
  );
}

const THERE = `SELECT count(*) AS n FROM sqlite_schema
  WHERE name IN ('words', 'words_inserted', 'words_deleted', 'words_updated', 'edited', 'gone')`;

async function makeTriggers(client: TidewireClient): Promise<void> {
  try {
    const [found] = await client.query<{ n: number }>(THERE);
    // All or none: a table without its triggers would find what is gone.
    if (found?.n !== 6) await client.batch(TRIGGERS);
    canSearch.set(true);
  } catch (error) {
    report(error);
  }
}

/** What is wrong here is wrong in the app: nothing that its user could do. */
function report(error: unknown): void {
  console.error(error);
}
