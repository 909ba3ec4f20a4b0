// An application made of the source document's snippets, unchanged. Which one: `?show=`.
import "../../src/styles.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { SocketProvider } from "../react/source-document/ReactComponents.jsx";
import { App, app, indicator, list, room, sent } from "../react/source-document/snippets.jsx";

const pages = {
  App: () => <App />,
  ChatApp: app,
  // As another user sees it: the document's components below the document's provider.
  components: () => (
    <SocketProvider apiUrl="http://localhost:4000" userId="user456">
      {indicator()}
      {list()}
      {room()}
    </SocketProvider>
  ),
};

const page = pages[new URLSearchParams(location.search).get("show")];
window.sent = sent;
createRoot(document.getElementById("app")).render(<StrictMode>{page()}</StrictMode>);
