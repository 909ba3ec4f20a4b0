// An application made of the source document's snippets, unchanged. Which one: `?show=`.
import "../../src/styles.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "../react/source-document/App.jsx";
import { app } from "../react/source-document/ChatApp.jsx";
import { indicator } from "../react/source-document/Indicator.jsx";
import { list } from "../react/source-document/List.jsx";
import { SocketProvider } from "../react/source-document/ReactComponents.jsx";
import { room } from "../react/source-document/Room.jsx";
import { sent } from "../react/source-document/yours.js";

const pages = {
  App: () => <App />,
  ChatApp: app,
  // As somebody else sees it: the document's components below the document's provider.
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
