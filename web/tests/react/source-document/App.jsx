// What the document leaves to the app.
import { useEffect } from "react";
import { getCurrentUserId } from "./yours.js";
export { App };

// The document, unchanged.

import { SocketProvider, useSocket } from './ReactComponents';

function App() {
  return (
    <SocketProvider apiUrl="http://localhost:4000">
      <YourChatApp />
    </SocketProvider>
  );
}

function YourChatApp() {
  const { authenticate } = useSocket();
  
  useEffect(() => {
    // Authenticate when user logs in
    const userId = getCurrentUserId(); // Your auth logic
    if (userId) {
      authenticate(userId);
    }
  }, []);
}
