import { createRoot } from "react-dom/client";
import "../src/styles.css";
import "./demo.css";
import "./person.css";
import "./screen.css";
import "./lab.css";
import "./wire.css";
import "./drawer.css";
import "./gallery.css";
import "./preferences.css";
import { App } from "./app.js";

const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);
