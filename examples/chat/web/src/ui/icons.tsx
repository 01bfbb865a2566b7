/** Pictures beside words, or with a name on the button around them. */

const PATHS = {
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.3 15.3 20 20",
  plus: "M12 5v14M5 12h14",
  back: "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6 6 18",
  mention: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zm4 0v5a2.5 2.5 0 0 0 5 0v-1a9 9 0 1 0-4 7.5",
  settings: "M4 7h9M17 7h3M15 5v4M4 17h3M11 17h9M9 15v4M4 12h12M18 12h2",
  send: "M5 12h13M12.5 5.5 19 12l-6.5 6.5",
  heart: "M12 20s-7.5-4.6-7.5-10A4.3 4.3 0 0 1 12 7.3 4.3 4.3 0 0 1 19.5 10c0 5.4-7.5 10-7.5 10z",
  edit: "M5 19l1-4L16 5l3 3L9 18zM14 7l3 3",
  bin: "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12M10.5 11v5M13.5 11v5",
  waiting: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4.5l3 2",
  sent: "M5 12.5l4.5 4.5L19 7.5",
  failed: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v5M12 15.8v.2",
  pulse: "M3 12h4l3-7 4 14 3-7h4",
  hash: "M9 4 7 20M17 4l-2 16M4 9h16M4 15h16",
  down: "M6 10l6 6 6-6",
  leave: "M14 5H6v14h8M11 12h9M17 9l3 3-3 3",
} as const;

/** A picture, as large as the text. */
export function Icon({ name, isFull = false }: { name: keyof typeof PATHS; isFull?: boolean }) {
  return (
    <svg className={`icon icon-${name}${isFull ? " is-full" : ""}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
