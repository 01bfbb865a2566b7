import "./styles/base.css";
import "./styles/controls.css";
import "./styles/layout.css";
import "./styles/rooms.css";
import "./styles/room.css";
import "./styles/overlays.css";

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./app.js";
import { installShell } from "./shell.js";
import { showThemeBefore } from "./ui/theme.js";
import { Trouble } from "./ui/trouble.js";

showThemeBefore();
installShell();

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Trouble>
        <App />
      </Trouble>
    </StrictMode>,
  );
}
