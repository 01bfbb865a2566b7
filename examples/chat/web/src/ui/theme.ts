/** Light or dark: what the system says, or the user. */

import { keep, recall } from "../session/store.js";

/** What there is to choose. */
export type Theme = "system" | "light" | "dark";

const NAME = "tidewire-chat.theme";

/** Shows it, and keeps it for the next start, before the replica is open. */
export function showTheme(theme: Theme): void {
  keep(NAME, theme === "system" ? null : theme);
  apply(theme);
}

/** What was shown the last time. */
export function showThemeBefore(): void {
  const theme = recall(NAME);
  apply(theme === "light" || theme === "dark" ? theme : "system");
}

function apply(theme: Theme): void {
  const { dataset } = document.documentElement;
  if (theme === "system") delete dataset["theme"];
  else dataset["theme"] = theme;
}
