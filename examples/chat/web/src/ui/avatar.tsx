/** Somebody, as initials on a colour that is always the same. */

const COLOURS = 8;

/** Beside the name: nobody has to read it aloud. */
export function Avatar({ name, isHere = false, size }: { name: string; isHere?: boolean; size?: "small" | undefined }) {
  const classes = ["avatar", `colour-${colourOf(name)}`, isHere && "is-here", size].filter(Boolean);
  return (
    <span className={classes.join(" ")} aria-hidden="true">
      {initialsOf(name)}
    </span>
  );
}

/** Two letters: of two words, or the first of one. */
export function initialsOf(name: string): string {
  const words = name.split(/[\s_\-.]+/).filter((word) => word !== "");
  const letters = words.length > 1 ? [words[0], words.at(-1)].map((word) => first(word ?? "")) : [...(words[0] ?? "?")].slice(0, 2);
  return letters.join("").toLocaleUpperCase();
}

function first(word: string): string {
  return [...word][0] ?? "";
}

/** One of eight, always the same: names that are alike must not have the same one. */
export function colourOf(name: string): number {
  let hash = 0;
  for (const letter of name) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return ((hash ^ (hash >>> 13)) >>> 0) % COLOURS;
}
