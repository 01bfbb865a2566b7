/** Times, as people read them. */

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_OF_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const WEEKDAY = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const SHORT = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const NEAR = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

/** The hour of a moment. */
export const clock = (at: Date): string => CLOCK.format(at);

/** All of a moment. */
export const whole = (at: Date): string => WHOLE.format(at);

/** The day, for a line between two days. */
export function day(at: Date, now = new Date()): string {
  const days = daysBetween(at, now);
  if (days === 0 || days === 1) return capital(NEAR.format(-days, "day"));
  return at.getFullYear() === now.getFullYear() ? DAY.format(at) : DAY_OF_YEAR.format(at);
}

/** As short as it goes, for a list. */
export function brief(at: Date, now = new Date()): string {
  const days = daysBetween(at, now);
  if (days <= 0) return CLOCK.format(at);
  if (days < 7) return WEEKDAY.format(at);
  return at.getFullYear() === now.getFullYear() ? SHORT.format(at) : String(at.getFullYear());
}

/** Whether two moments are of one day. */
export function isSameDay(a: Date, b: Date): boolean {
  return daysBetween(a, b) === 0;
}

function daysBetween(from: Date, to: Date): number {
  const start = (at: Date): number => new Date(at.getFullYear(), at.getMonth(), at.getDate()).getTime();
  return Math.round((start(to) - start(from)) / 86_400_000);
}

function capital(text: string): string {
  return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}
