// What the document leaves to the app.
import { useEffect } from "react";
const getCurrentUserId = () => "user123";
const messages = [
  { id: "1", senderId: "user456", content: "Hello", createdAt: "2027-01-15T08:00:00Z" },
];
export const sent = [];
const handleSendMessage = (text) => {
  sent.push(text);
};
export { App };

// The document's application, unchanged.

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

// The document's components, unchanged, but for their imports, which have to stand outside of functions.

import { ChatApp, ChatRoom, OnlineUsersList, UserStatusIndicator } from './ReactComponents';

export const indicator = () =>
<UserStatusIndicator 
  userId="user123" 
  size="md" 
  showText={true} 
/>

export const list = () =>
<OnlineUsersList className="w-64" />

export const room = () =>
<ChatRoom
  chatSessionId="session123"
  currentUserId="user123"
  messages={messages}
  onSendMessage={handleSendMessage}
/>

export const app = () =>
// This includes everything: socket provider, online users, chat room
<ChatApp />
