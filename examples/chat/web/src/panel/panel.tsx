/** What is happening: where the device is, what waits, what has come last, and whether it is the same as the server's. */

import { useStatus, useTidewire } from "@tidewire/react";
import { type KeyboardEvent, type ReactNode, useEffect, useRef } from "react";

import { count } from "../data/connection.js";
import { goOffline, offlineSwitch } from "../session/client.js";
import { useStore } from "../session/store.js";
import { Icon } from "../ui/icons.js";
import { useDeltas } from "./deltas.js";
import { type Diagnosis, useLook } from "./diagnosis.js";
import { DigestCheck } from "./digest-check.js";

const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export function Panel({ room, onClose }: { room: string | null; onClose: () => void }) {
  const client = useTidewire();
  const status = useStatus();
  const look = useLook();
  const isOffline = useStore(offlineSwitch);
  const close = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    close.current?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  const press = (event: KeyboardEvent): void => {
    if (event.key === "Escape") onClose();
  };
  const rows = look?.storage.tables.filter(({ name }) => name.startsWith("chat")).reduce((sum, table) => sum + table.rows, 0);
  return (
    <aside id="panel" className="panel" aria-labelledby="panel-title" onKeyDown={press}>
      <header className="panel-header">
        <h2 id="panel-title">What is happening</h2>
        <button ref={close} type="button" className="icon-button" aria-label="Close" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <label className="switch">
        <input type="checkbox" role="switch" checked={isOffline} onChange={({ target }) => goOffline(client, target.checked)} />
        <span>
          Offline
          <span className="fine">{isOffline ? "The connection is off." : "Ends the connection, to see what goes on without."}</span>
        </span>
      </label>
      <Facts title="Connection">
        <Fact name="State" value={status.word.replaceAll("_", " ")} />
        <Fact name="All was here" value={status.lastSyncedAt ? TIME.format(status.lastSyncedAt) : "never"} />
      </Facts>
      <Facts title="Frontier">
        {look?.diagnosis.lanes.map(({ lane, seq }) => (
          <Fact key={lane} name={nameOf(lane)} value={`SeqId ${seq}`} />
        ))}
        {look?.diagnosis.lanes.length === 0 && <Fact name="SeqId" value="nothing yet" />}
      </Facts>
      <Facts title="What waits">
        <Waiting outbox={look?.diagnosis.outbox} />
      </Facts>
      <Facts title="On this device">
        <Fact name="Replica" value={look ? bytes(look.storage.file + look.storage.journal) : "…"} />
        <Fact name="Rows of the chat" value={rows === undefined ? "…" : String(rows)} />
        <Fact name="Kept in" value={status.storage.kind} />
        <Fact name="Incidents" value={look ? String(look.diagnosis.incidents.count) : "…"} />
      </Facts>
      <Deltas />
      <DigestCheck room={room} verifications={look?.diagnosis.verifications} />
    </aside>
  );
}

function Waiting({ outbox }: { outbox: Diagnosis["outbox"] | undefined }) {
  if (!outbox) return <Fact name="Pending" value="…" />;
  const { mutations, oldest_ms: oldest, lanes } = outbox;
  return (
    <>
      <Fact name="Pending" value={mutations === 0 ? "nothing" : count(mutations, "write")} />
      {oldest !== null && mutations > 0 && <Fact name="The oldest for" value={`${Math.round(oldest / 1_000)} s`} />}
      {lanes.map(({ lane, settled, sent }) => (
        <Fact key={lane} name={nameOf(lane)} value={`${settled} of ${Math.max(sent, settled)} sent decided`} />
      ))}
    </>
  );
}

function Deltas() {
  const deltas = useDeltas();
  return (
    <section className="facts">
      <h3>Last changes</h3>
      {deltas.length === 0 && <p className="fine">Nothing has changed since you look.</p>}
      <ol className="deltas" role="list">
        {deltas.map(({ number, at, table, inserted, updated, removed }) => (
          <li key={number}>
            <time dateTime={at.toISOString()}>{TIME.format(at)}</time>
            <span>{table}</span>
            <span className="delta" role="img" aria-label={`${inserted} inserted, ${updated} updated, ${removed} removed`}>
              +{inserted} ~{updated} −{removed}
            </span>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Facts({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="facts">
      <h3>{title}</h3>
      <dl>{children}</dl>
    </section>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

/** A lane: what one order holds for. */
function nameOf(lane: string): string {
  return lane === "user" ? "Your own tables" : `Tables of ${lane.replace(/^shared[:/ ]?/i, "")}`;
}

function bytes(size: number): string {
  if (size < 1_000_000) return `${Math.round(size / 1_000)} kB`;
  return `${(size / 1_000_000).toFixed(1)} MB`;
}
