import { handleSendMessage, messages } from "./yours.js";

export const room = () =>
// The document, unchanged, but for its import, which has to stand outside of a function.
<ChatRoom
  chatSessionId="session123"
  currentUserId="user123"
  messages={messages}
  onSendMessage={handleSendMessage}
/>

import { ChatRoom } from './ReactComponents';
