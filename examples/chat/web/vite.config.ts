import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

import { shell } from "./shell/plugin.js";

export default defineConfig({
  // It is served from any path.
  base: "./",
  plugins: [react(), shell()],
  // The packages are linked from folders that may have a React of their own: hooks want the one of the app.
  resolve: { dedupe: ["react", "react-dom", "@tidewire/client"] },
  // Those folders are outside of this one.
  server: { fs: { allow: ["../../.."] } },
  build: {
    // A data: address is not 'self', which is all that the content security policy allows.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
