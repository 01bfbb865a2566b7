/** What was refused and belongs to no room: a setting, a draft. */

import type { Failure } from "../data/failures.js";
import { FailureCard } from "../room/failure-card.js";

export function OtherFailures({ failures }: { failures: readonly Failure[] }) {
  const others = failures.filter(({ room }) => room === null);
  if (others.length === 0) return null;
  return (
    <section className="other-failures" aria-label="Not saved">
      {others.map((failure) => (
        <FailureCard key={failure.rejection.id} failure={failure} />
      ))}
    </section>
  );
}
