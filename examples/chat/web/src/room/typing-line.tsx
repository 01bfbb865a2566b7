/** Who else is typing. */

export function TypingLine({ names }: { names: readonly string[] }) {
  return (
    <p className="typing" aria-live="off">
      {names.length > 0 && (
        <>
          <span className="typing-dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          <span dir="auto">{words(names)}</span>
        </>
      )}
    </p>
  );
}

function words(names: readonly string[]): string {
  const [first, second] = names;
  if (names.length === 1) return `${first} is typing`;
  if (names.length === 2) return `${first} and ${second} are typing`;
  return `${first} and ${names.length - 1} others are typing`;
}
