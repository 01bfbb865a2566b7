/** Something did not happen: why, and what to do. */

import { useState } from "react";

import type { Failure } from "../data/failures.js";
import { Icon } from "../ui/icons.js";

const TITLES: Record<Failure["what"], string> = {
  message: "This message was not sent",
  edit: "This change was not made",
  delete: "A message was not deleted",
  like: "A like was not counted",
  other: "A change was not saved",
};

export function FailureCard({ failure }: { failure: Failure }) {
  const { rejection, what, body, reason } = failure;
  const [error, setError] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const decide = async (run: () => Promise<unknown>): Promise<void> => {
    setBusy(true);
    try {
      await run();
    } catch (thrown) {
      setError(thrown instanceof Error ? thrown.message : String(thrown));
      setBusy(false);
    }
  };
  return (
    <div className="failure" role="group" aria-label={TITLES[what]}>
      <p className="failure-title">
        <Icon name="failed" />
        {TITLES[what]}
      </p>
      {body !== null && (
        <p className="failure-body" dir="auto">
          {body}
        </p>
      )}
      <p className="failure-reason">The server says: {error ?? reason}.</p>
      <div className="buttons is-start">
        <button type="button" className="button is-small" disabled={isBusy} onClick={() => void decide(() => rejection.retry())}>
          Try again
        </button>
        <button type="button" className="button is-small" disabled={isBusy} onClick={() => void decide(() => rejection.discard())}>
          Discard
        </button>
      </div>
    </div>
  );
}
