/** Compares what is here with what the server has, by digests: no row is sent for it. */

import { useTidewire } from "@tidewire/react";
import { useState } from "react";

import { MESSAGES_AT_ONCE, OF_A_ROOM } from "../data/tables.js";
import type { Diagnosis } from "./diagnosis.js";

const VERDICTS = {
  same: "The same as on the server.",
  different: "It was different, and is loaded anew.",
  unknown: "It cannot be compared.",
} as const;

interface DigestCheckProps {
  readonly room: string | null;
  readonly verifications: Diagnosis["verifications"] | undefined;
}

export function DigestCheck({ room, verifications }: DigestCheckProps) {
  const client = useTidewire();
  const [said, setSaid] = useState<string | null>(null);
  const check = async (of: string): Promise<void> => {
    setSaid("It is compared when all is here…");
    // The same text as that of the room, so it is the same subscription.
    const subscription = client.subscribe(OF_A_ROOM.messages, [of], { fetchLast: MESSAGES_AT_ONCE });
    try {
      setSaid(VERDICTS[await subscription.verify()]);
    } catch (thrown) {
      setSaid(thrown instanceof Error ? thrown.message : String(thrown));
    } finally {
      subscription.release();
    }
  };
  return (
    <section className="facts">
      <h3>Digest check</h3>
      <p className="fine">
        {verifications ? `${verifications.equal} were the same, ${verifications.different} different, since the chat was opened.` : "…"}
      </p>
      {room !== null && (
        <button type="button" className="button is-small" onClick={() => void check(room)}>
          Compare this room
        </button>
      )}
      <p className="verdict" role="status">
        {said}
      </p>
    </section>
  );
}
