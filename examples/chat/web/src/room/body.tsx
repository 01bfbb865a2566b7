/** The text of a message, with those whom it names, and its links. */

import { Fragment, memo } from "react";

const PIECES = /(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)])|((?<![A-Za-z0-9_-])@[A-Za-z0-9_-]+)/g;

export const Body = memo(function Body({ text, user }: { text: string; user: string }) {
  const pieces: (string | { link: string } | { name: string })[] = [];
  let from = 0;
  for (const found of text.matchAll(PIECES)) {
    pieces.push(text.slice(from, found.index));
    pieces.push(found[1] ? { link: found[1] } : { name: found[0] });
    from = found.index + found[0].length;
  }
  pieces.push(text.slice(from));
  return (
    <div className="message-body" dir="auto">
      {pieces.map((piece, at) => {
        if (typeof piece === "string") return <Fragment key={at}>{piece}</Fragment>;
        if ("link" in piece) {
          return (
            <a key={at} href={piece.link} target="_blank" rel="noopener noreferrer">
              {piece.link}
            </a>
          );
        }
        return (
          <span key={at} className={piece.name === `@${user}` ? "name is-own" : "name"}>
            {piece.name}
          </span>
        );
      })}
    </div>
  );
});
