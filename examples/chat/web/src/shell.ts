/** The service worker, by which the app opens without a network, and new versions of the app. */

import { Store } from "./session/store.js";

/** A version of the app that is here, and that the next load of the page has; none while this is the newest. */
export const newVersion = new Store<ServiceWorker | null>(null);

/** Installs it, where the app was built. */
export function installShell(): void {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  const hadOne = navigator.serviceWorker.controller !== null;
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    // The first one takes over a page that is of the same version.
    if (hadOne) location.reload();
  });
  navigator.serviceWorker.register(new URL("service-worker.js", document.baseURI)).then(
    (registration) => {
      const look = (): void => {
        if (registration.waiting && navigator.serviceWorker.controller) newVersion.set(registration.waiting);
      };
      look();
      registration.addEventListener("updatefound", () => {
        registration.installing?.addEventListener("statechange", look);
      });
    },
    // Without it, the app needs a network to open, and everything else is as it was.
    () => undefined,
  );
}

/** Takes the new version, and loads the page again. */
export function takeNewVersion(): void {
  newVersion.value?.postMessage("take over");
}
